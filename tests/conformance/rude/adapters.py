"""How badly can an implementation behave? Each of these does one thing to the process that judges it.

All do well what the smoke checks ask, and judge themselves by ``dbt seed``.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from tiny.adapter import TinyAdapter

from pytest_cosmos_venv.conformance.adapter import Outcome, Task

MEGABYTES = 30


class _Rude(TinyAdapter):
    """Behaves but for one command."""

    def perform(self, task: Task) -> Outcome:
        return self.misbehave(task) if task.command == "seed" else super().perform(task)

    def misbehave(self, task: Task) -> Outcome:
        raise NotImplementedError


class Hangs(_Rude):
    """Never ends, and does not listen when it is told to."""

    def misbehave(self, task: Task) -> Outcome:  # noqa: ARG002
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self.wait_for_ever()

    def wait_for_ever(self) -> NoReturn:
        while True:
            signal.pause()


class Talks(_Rude):
    """Writes more than anybody will read, in one line without an end, and fails."""

    def misbehave(self, task: Task) -> Outcome:
        for _ in range(MEGABYTES):
            sys.stderr.write("\x1b[31mtide\x00\udce4" * 100_000)
        return Outcome(state="failed", exception="the tide is too high", log=super().perform(task).log)


class KillsItsGroup(_Rude):
    """Ends all that is in its process group, itself included."""

    def misbehave(self, task: Task) -> Outcome:  # noqa: ARG002
        os.kill(0, signal.SIGKILL)
        raise AssertionError("nobody gets here")


class KillsItsParent(_Rude):
    """Ends the process that has started it, and goes on."""

    def misbehave(self, task: Task) -> Outcome:
        os.kill(os.getppid(), signal.SIGKILL)
        return super().perform(task)


class LeavesWithoutAWord(_Rude):
    """Ends its process, as a library does that knows better."""

    def misbehave(self, task: Task) -> NoReturn:  # noqa: ARG002
        os._exit(0)


class ReturnsNonsense(_Rude):
    """Gives back something that is no outcome, and cannot be handed to another process."""

    def misbehave(self, task: Task) -> Outcome:  # noqa: ARG002
        return lambda: None  # type: ignore[return-value] # that is the fault


class ForksWithoutEnd(_Rude):
    """Leaves a process that leaves a process, none of which ends."""

    def misbehave(self, task: Task) -> Outcome:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                Hangs().wait_for_ever()
            os._exit(0)
        return super().perform(task)
