"""Processes below this one; orphans and parent's death.

What did this process start, itself and through others? Found by descent, told and ended.

Processes that were orphaned are among them where ``kernel.adopt_orphans`` was asked for before. psutil is imported when
it is needed: contenders are forked from where this was loaded.

What only the Linux kernel grants: being parent to orphans, and dying with one's own parent.

Elsewhere both do nothing: what a killed process leaves behind is then nobody's to find.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

from pytest_cosmos_venv import real_time

if TYPE_CHECKING:
    import psutil


_LOOK_AGAIN = 0.005
_LONGEST_STOP = 5.0
_STANDING_STILL = ("stopped", "zombie", "dead")
_LONGEST_END = 10.0  # seconds until a process that SIGKILL does not end is given up


def descendants(pid: int) -> list[psutil.Process]:
    """The children of a process and theirs; none where it has ended."""
    import psutil

    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def send(process: psutil.Process, number: int) -> None:
    """Send a signal, unless the process has ended by itself or belongs to another user."""
    import psutil

    try:
        process.send_signal(number)
    except psutil.Error:
        return


def stop_tree(process: psutil.Process) -> None:
    """Stop a process and all that it has started; gives up waiting for one that does not stand still in five seconds.

    Each before its children: who starts a program (vfork, posix_spawn) stands in the kernel until the child runs it,
    and a child that was stopped first never does.
    """
    import psutil

    send(process, signal.SIGSTOP)
    end = real_time.monotonic() + _LONGEST_STOP
    try:
        while process.status() not in _STANDING_STILL and real_time.monotonic() < end:
            real_time.sleep(_LOOK_AGAIN)
        children = process.children()
    except psutil.Error:
        return
    for child in children:
        stop_tree(child)


def end_descendants() -> None:
    """Kill and reap every descendant of this process; gives up on what outlives SIGKILL by ten seconds."""
    end = real_time.monotonic() + _LONGEST_END
    # Again and again: between two looks one of them may have forked, and orphans arrive as their parents die.
    while real_time.monotonic() < end:
        for process in descendants(os.getpid()):
            send(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
        except ChildProcessError:
            return
        real_time.sleep(_LOOK_AGAIN)


_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, also of one in a session of its own."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent ends from now on, however that comes.

    A parent may have ended before: look at ``os.getppid()`` afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
