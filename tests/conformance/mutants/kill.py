"""Faults in the end of a task: what it does not end, or not as it should."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .doing import DoesOtherwise
from .guards import GuardsBadly
from .locking import HoldsTheLock, Sound
from .mutant import Mutant, Original

_DOES_NOTHING_WHEN_TOLD = """
def hear_and_forget(control):
    told = hear(control)
    if told:
        guard.Ladder.begin = lambda ladder: None
    return told
guard.hear = hear_and_forget
"""


class LeavesDbtToItsWork(GuardsBadly):
    """Ends the task, and leaves it to dbt to come to an end."""

    kills = "KILL-002"
    fault = _DOES_NOTHING_WHEN_TOLD


class EndsDbtAlone(GuardsBadly):
    """Ends dbt when it is told to, by its PID, and is done."""

    kills = "KILL-003"
    fault = """
def hear_and_end_one(control):
    told = hear(control)
    if told:
        reap = guard.reap
        guard.signal_descendants = lambda number: [os.kill(pid, number) for pid in guard.descendants()[:1]]
        guard.reap = lambda child: (lambda left, status: (left and status is None, status))(*reap(child))
    return told
guard.hear = hear_and_end_one
"""


class StaysPolite(GuardsBadly):
    """Sends SIGINT, then SIGTERM, and waits for dbt to obey."""

    kills = "KILL-004"
    fault = """
guard.LADDER, guard.KILL_AT = guard.LADDER[:2], 1000.0
"""


class WaitsForTheLockAllTheSame(HoldsTheLock):
    """Ends dbt when it is told to end, and has nothing to do while there is none."""

    kills = "KILL-005"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        from cosmos_venv.processes.cancellation import Cancellation

        with sound(cancellation=Cancellation()):
            yield


class LetsTheInstallerFinish(GuardsBadly):
    """Ends the task, and lets the installer finish, so that the next one finds the environment."""

    kills = "KILL-006"
    is_of_dbt = False
    fault = _DOES_NOTHING_WHEN_TOLD


class EndsDbtOnKillAlone(GuardsBadly):
    """Ends dbt when it is told to, and notices nothing when its worker is gone."""

    kills = "KILL-007"
    fault = """
def hear_words_alone(control):
    told = hear(control)
    if not told:
        guard.Ladder.begin = lambda ladder: None
    return told
guard.hear = hear_words_alone
"""


class TerminatesAtOnce(Mutant):
    """Ends dbt by SIGTERM, as every other process."""

    kills = "KILL-008"

    def spoil(self, operator: Any) -> None:
        operator.cancel_query_on_kill = False


class LeavesAReporter(DoesOtherwise):
    """Tells its makers of each run, by a process that nobody has to wait for."""

    kills = "KILL-009"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        try:
            return sound(*args, **kwargs)
        finally:
            subprocess.Popen(["sleep", "60"], start_new_session=True)
