"""Fixtures of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_cosmos_venv.races.peak_memory import PeakMemory
    from pytest_cosmos_venv.races.prepared import PreparedProcesses
    from pytest_cosmos_venv.races.task_race import TaskRace


@pytest.fixture
def cosmos_task_race(_cosmos_task_race: TaskRace) -> TaskRace:
    """Runs a function in several processes at the same instant: ``cosmos_task_race(work, tmp_path, contenders=4)``.

    Gives ``.outcomes``, ``.values`` and the ``.timeline``. ``kill_at="installing"``, ``stop_at=...`` kill or stop the
    contender that is there first; ``with cosmos_task_race.start(...) as race`` lets the test do it by hand.
    """
    return _cosmos_task_race


@pytest.fixture
def cosmos_peak_memory() -> Callable[[], AbstractContextManager[PeakMemory]]:
    """Measures the memory of a task and of all that it starts: ``with cosmos_peak_memory() as peak: ...``.

    ``peak.bytes``, and ``peak.ratio_to(reference)``, another such block.
    """
    from pytest_cosmos_venv.races.peak_memory import measure_peak_memory

    return measure_peak_memory


@pytest.fixture
def _cosmos_task_race(
    request: pytest.FixtureRequest,
    _cosmos_prepared_processes: PreparedProcesses,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TaskRace]:
    """What ``cosmos_task_race`` gives."""
    from pytest_cosmos_venv.races.lookalikes import Lookalikes
    from pytest_cosmos_venv.races.task_race import TaskRace

    def find_lookalikes() -> Lookalikes:
        # Only those that the test has: making one is not this fixture's affair.
        wheelhouse, fake_venv = (
            request.getfixturevalue(name) if name in request.fixturenames else None
            for name in ("_cosmos_wheelhouse", "_cosmos_fake_venv")
        )
        return Lookalikes(wheelhouse=wheelhouse, fake_venvs=fake_venv._family if fake_venv is not None else ())

    race = TaskRace(_cosmos_prepared_processes, lambda: tmp_path_factory.mktemp("cosmos-race"), find_lookalikes)
    yield race
    race._close()


@pytest.fixture(scope="session")
def _cosmos_prepared_processes(
    tmp_path_factory: pytest.TempPathFactory,
    _cosmos_airflow_for_children: Callable[[], Mapping[str, str | None]],
) -> Iterator[PreparedProcesses]:
    """The processes that contenders fork from, started when a race asks for them."""
    from pytest_cosmos_venv.races.prepared import PreparedProcesses

    processes = PreparedProcesses(tmp_path_factory.mktemp("cosmos-prepared"), _cosmos_airflow_for_children)
    yield processes
    processes.close()
