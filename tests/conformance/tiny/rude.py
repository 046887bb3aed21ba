"""An implementation that behaves badly: for each command it does another thing to the process that judges it.

It does well what the smoke checks ask for: ``dbt run``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import ClassVar, NoReturn

from pytest_cosmos_venv.conformance.adapter import Outcome, Task

from .adapter import TinyAdapter

_WORDS = 2_000_000
"""Fourteen bytes each."""


def wait_for_ever(_: Task) -> NoReturn:
    """Does not end, and does not listen when it is told to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def talk(task: Task) -> Outcome:
    """Writes more than anybody will read, without an end of a line, and fails."""
    for _ in range(20):
        sys.stderr.write("\x1b[31mtide\x00\udce4" * (_WORDS // 20))
    return Outcome(state="failed", exception=f"the tide is too high for {task.command}")


def kill_its_group(_: Task) -> NoReturn:
    """Ends all that is in its process group, itself included."""
    os.kill(0, signal.SIGKILL)
    raise AssertionError("nobody gets here")


def kill_its_parent(_: Task) -> Outcome:
    """Ends the process that has started it, and goes on."""
    os.kill(os.getppid(), signal.SIGKILL)
    return Outcome(state="success")


def kill_the_group_of_its_parent(_: Task) -> Outcome:
    """Ends the process that has started it with all of that one's group, and goes on if it can."""
    os.killpg(os.getpgid(os.getppid()), signal.SIGKILL)
    return Outcome(state="success")


def leave_without_a_word(_: Task) -> NoReturn:
    """Ends its process, as a library does that knows better."""
    os._exit(0)


def return_nonsense(_: Task) -> Outcome:
    """Gives back what is no outcome, and cannot be handed to another process."""
    return lambda: None  # type: ignore[return-value] # that is the fault


def leave_a_process(task: Task) -> Outcome:
    """Leaves a process in a session of its own that does not end."""
    if os.fork() == 0:
        os.setsid()
        wait_for_ever(task)
    return Outcome(state="success")


class RudeAdapter(TinyAdapter):
    """Behaves but for some commands."""

    misbehaves: ClassVar[Mapping[str, Callable[[Task], Outcome]]] = {
        "build": wait_for_ever,
        "ls": talk,
        "seed": kill_its_group,
        "snapshot": kill_its_parent,
        "source freshness": leave_without_a_word,
        "test": return_nonsense,
        "run-operation": leave_a_process,
        "docs generate": kill_the_group_of_its_parent,
    }

    def perform(self, task: Task) -> Outcome:
        return self.misbehaves.get(task.command, super().perform)(task)
