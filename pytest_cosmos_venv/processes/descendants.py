"""Finding, signalling and ending all processes that a process has started; adopting orphans and dying with the parent.

Orphans are among the descendants only where ``adopt_orphans`` was called before they became orphans. Only the Linux
kernel can adopt orphans or end a process with its parent. On other systems these two functions do nothing. psutil is
imported inside the functions: contenders of a race are forked from a process that has loaded this module.
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
_LONGEST_STOP = 5.0  # a process in uninterruptible sleep (a mount that hangs) does not stop
_STANDING_STILL = ("stopped", "zombie", "dead")
_LONGEST_END = 10.0  # seconds until a process that SIGKILL does not end is given up
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def descendants(pid: int) -> list[psutil.Process]:
    """The children of a process, their children, and so on; none where the process has ended.

    :param pid: the process at the top, which is not in the list itself.
    """
    import psutil

    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def send(process: psutil.Process, number: int) -> None:
    """Send a signal, unless the process has ended by itself or belongs to another user.

    :param process: the process as psutil knows it, so that a reused PID is not hit.
    :param number: number of the signal.
    """
    import psutil

    try:
        process.send_signal(number)
    except psutil.Error:
        return


def stop_tree(process: psutil.Process) -> None:
    """Stop a process and all its descendants by SIGSTOP. A process that does not stop in five seconds is skipped.

    :param process: the process at the top, which is stopped first.
    """
    import psutil

    # The parent is stopped before its children: after vfork or posix_spawn it waits in the kernel until the child calls
    # exec. A child that was stopped first never calls exec, and then its parent cannot be stopped.
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
    """Kill and reap every descendant of this process. A process that outlives SIGKILL by ten seconds is given up."""
    end = real_time.monotonic() + _LONGEST_END
    # In a loop: between two passes a descendant may have forked, and orphans are reparented as their parents die.
    while real_time.monotonic() < end:
        for process in descendants(os.getpid()):
            send(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
        except ChildProcessError:
            return
        real_time.sleep(_LOOK_AGAIN)


def adopt_orphans() -> None:
    """Make this process the subreaper of its descendants: orphans in any session become its children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Make the kernel send SIGKILL to this process when its parent ends for any reason.

    The parent may have ended before the call: compare ``os.getppid()`` afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
