"""KILL: what is left of a task that is told to end, or that is killed with its worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_cosmos_venv import DbtCall, VenvLock
from pytest_cosmos_venv.real_time import wait_until

from ..adapter import Task
from ..harness.harness import Harness
from ..harness.processes import installer_of_build, lives, watch_until_rest
from ..harness.running import HarnessError, RunningTasks
from ..requirements import case, requirement

RUDE = [signal.SIGINT, signal.SIGTERM]
POLITE = 10.0
"""Seconds for a dbt that obeys signals."""
STUBBORN = 5.0
"""Seconds for a dbt that ignores signals: as many as Airflow gives the task's own process."""


@contextmanager
def _running_dbt(harness: Harness, task: Task | None = None) -> Iterator[tuple[RunningTasks, DbtCall]]:
    """A task whose dbt is held in the middle of its work. ``task`` None: a task with a temporary environment."""
    with harness.start(task or harness.task()) as running:
        running.race.wait_for("running")
        yield running, harness.wheelhouse.wait_for_call("run", held=True)


def _still_alive(harness: Harness, *pids: int, since: float, within: float = POLITE) -> list[int]:
    """PIDs of the processes that have not ended ``within`` seconds of ``since``."""

    def is_gone(pid: int) -> bool:
        left = since + within + harness.slack - time.monotonic()
        return wait_until(lambda: not lives(pid), timeout=max(left, 0.0))

    return [pid for pid in pids if not is_gone(pid)]


def _end(running: RunningTasks, end: str) -> None:
    if end == "told to end":
        running.terminate()
    else:
        running.kill()


def _child_of(dbt: DbtCall) -> int:
    if dbt.child_pid is None:
        raise HarnessError("The fake dbt was to have a child, and has told of none.")
    return dbt.child_pid


@pytest.mark.parametrize(
    ("what", "script", "end", "within"),
    [
        case("KILL-002", "dbt", {}, "told to end", POLITE),
        case("KILL-003", "a child of dbt", {"child": True}, "told to end", POLITE),
        case("KILL-004", "a dbt that ignores SIGINT and SIGTERM", {"ignore_signals": RUDE}, "told to end", STUBBORN),
        case("KILL-007", "dbt and its child", {"child": True}, "killed by SIGKILL with its worker", POLITE),
        case("KILL-010", "a native dbt and its child", {"child": True}, "told to end", POLITE),
    ],
)
def test_dbt_ends_with_its_task(harness: Harness, what: str, script: dict[str, Any], end: str, within: float) -> None:
    harness.wheelhouse.script("run", hold=True, **script)

    with _running_dbt(harness, harness.native_task() if "native" in what else None) as (running, dbt):
        pids = [*([] if what == "a child of dbt" else [dbt.pid]), *([_child_of(dbt)] if "child" in script else [])]
        at = time.monotonic()
        _end(running, end)
        alive = _still_alive(harness, *pids, since=at, within=within)

    names = " and ".join("dbt" if pid == dbt.pid else "its child" for pid in alive)
    assert not alive, f"{what} must have ended {within:g} s after its task was {end}; seen: {names} runs on"


@requirement("KILL-005")
def test_a_task_that_waits_for_the_lock_ends_when_it_is_told_to(harness: Harness, lock: VenvLock) -> None:
    lock.held_by(os.getpid())

    with harness.start(harness.kept_task()) as running:
        watch_until_rest(running.pids, lambda: not running.running, timeout=harness.timeout)
        has_waited = bool(running.running)
        obeyed = running.terminate(slack=harness.slack)
        outcome = running.finish().outcomes[0]

    said = "a task that waits for the lock must end within 5 s of SIGTERM, before SIGKILL comes"
    assert has_waited, f"{said}; seen: it did not wait. {outcome}"
    assert obeyed, f"{said}; seen: it waits on. {outcome}"
    assert not outcome.succeeded, f"{said}, and fail; seen: {outcome}"


@pytest.mark.parametrize(
    "end", [case("KILL-006", "told to end"), case("KILL-007", "killed by SIGKILL with its worker")]
)
def test_an_installer_ends_with_its_task(harness: Harness, end: str) -> None:
    held = harness.add_sdist(hold=True)

    with harness.start(harness.kept_task()) as running:
        running.race.wait_for("installing")
        build = held.builds[0].pid
        pids = [build, *filter(None, [installer_of_build(build)])]
        at = time.monotonic()
        _end(running, end)
        alive = _still_alive(harness, *pids, since=at)
    held.release()

    said = f"an installer must have ended {POLITE:g} s after its task was {end}"
    assert not alive, f"{said}; seen: process {alive[0]} runs on"
    if end == "told to end":
        next_one = harness.run(harness.kept_task())
        assert next_one.succeeded, f"{said}, and leave nothing that makes the next task fail; seen: {next_one}"


@requirement("KILL-008")
def test_dbt_is_interrupted_before_it_is_terminated(harness: Harness) -> None:
    harness.wheelhouse.script("run", hold=True, ignore_signals=[signal.SIGTERM])

    with _running_dbt(harness) as (running, dbt):
        running.terminate()
        _still_alive(harness, dbt.pid, since=time.monotonic())
        signals = harness.calls("run")[0].signals

    assert signals[:1] == ("SIGINT",), (
        "dbt must get SIGINT first when its task is told to end, since that lets it cancel its queries; seen: "
        f"{', '.join(signals) or 'no signal that it could note'}"
    )


@requirement("KILL-009")
@pytest.mark.parametrize("exit_code", [0, 1], ids=["success", "failure"])
def test_nothing_that_a_task_has_started_outlives_it(harness: Harness, exit_code: int) -> None:
    harness.wheelhouse.script("run", exit_code=exit_code)

    with harness.start(harness.shared_task(), grace=harness.slack) as running:
        finished = running.finish()

    assert harness.calls("run"), f"the task must run dbt; seen: {finished.outcomes[0]}"
    assert not finished.left_behind, f"nothing that a task has started may outlive it; seen: {finished.left_behind[0]}"
