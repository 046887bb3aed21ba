"""LOCK: what a dead owner has left behind keeps nobody from the environment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_cosmos_venv import Pids, Sdist, VenvLock, VenvLocks

from .bench import Bench
from .requirements import requirement
from .waiting import what_it_comes_to

REST = 3.0
"""Seconds for which a task does nothing that waits for a lock. None that installs does nothing for so long."""


@pytest.fixture
def held(bench: Bench) -> Sdist:
    """What each environment of these tests needs built; the installer waits there until it is released."""
    return bench.wheelhouse.add_sdist("dbt-core", hold=True)


def of_dead_process(lock: VenvLock, _: Pids) -> None:
    lock.stale()


def of_zombie(lock: VenvLock, pids: Pids) -> None:
    lock.held_by(pids.zombie())


def empty(lock: VenvLock, _: Pids) -> None:
    lock.empty()


def garbage(lock: VenvLock, _: Pids) -> None:
    lock.garbage()


def of_reused_number(lock: VenvLock, pids: Pids) -> None:
    pids.reused(lock.file)


@pytest.mark.parametrize(
    ("leave", "what"),
    [
        pytest.param(of_dead_process, "the PID of a dead process", marks=requirement("LOCK-006"), id="dead"),
        pytest.param(of_zombie, "the PID of a zombie", marks=requirement("LOCK-007"), id="zombie"),
        pytest.param(empty, "nothing, for 5 minutes", marks=requirement("LOCK-008"), id="empty"),
        pytest.param(garbage, "no number", marks=requirement("LOCK-009"), id="garbage"),
        pytest.param(
            of_reused_number, "a PID that went to a younger process", marks=requirement("LOCK-016"), id="reused"
        ),
    ],
)
def test_a_record_that_names_no_living_owner_is_overridden(
    bench: Bench,
    cosmos_venv_lock: VenvLocks,
    cosmos_pids: Pids,
    held: Sdist,
    leave: Callable[[VenvLock, Pids], None],
    what: str,
) -> None:
    lock = cosmos_venv_lock(bench.virtualenv_dir)
    leave(lock, cosmos_pids)
    text = lock.file.read_text(encoding="ascii")

    with bench.start(bench.kept_task()) as running:
        did = what_it_comes_to(bench, running, held, seconds=REST)
        has_begun = bool(held.builds)

    assert has_begun, f"a task must override a lock file that holds {what} ({text!r}) and install; seen: {did}"


@requirement("LOCK-022")
def test_a_record_of_ones_own_number_is_overridden(bench: Bench, cosmos_venv_lock: VenvLocks, held: Sdist) -> None:
    first = bench.wheelhouse.add_sdist("dbt-harbor", requires=(), hold=True, fails_with="It fails for the test's sake.")
    lock = cosmos_venv_lock(bench.virtualenv_dir)
    elsewhere = bench.task(virtualenv_dir=str(bench.folder / "elsewhere"), py_requirements=["dbt-harbor"])

    with bench.start([elsewhere, bench.kept_task()], contenders=1) as running:
        running.wait_for("installing")
        lock.held_by(running.pids[0])
        first.release()  # the first operator's installation fails, and the second operator begins
        did = what_it_comes_to(bench, running, held, seconds=REST)
        has_begun, pid = bool(held.builds), running.pids[0]

    said = (
        f"a task must override a lock file that holds its own PID ({pid}), left by an earlier operator of its process"
    )
    assert has_begun, f"{said}; seen: {did}"
