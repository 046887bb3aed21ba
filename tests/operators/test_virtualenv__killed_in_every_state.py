"""A virtualenv task is killed wherever it is: all is over in Airflow's five seconds, and the next task succeeds.

Airflow 3 sends SIGTERM to a handler that calls ``on_kill()`` and returns into the middle of anything, Airflow 2 to one
that raises; when heartbeats are lost there is nothing but SIGKILL.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from pytest_cosmos_venv import Contender, CosmosDbt, CosmosLock, CosmosRace, VenvLock
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.processes.pids import Pids
from pytest_cosmos_venv.races.running import RunningRace
from tests.kit import harbor_profile

STUBBORN = (signal.SIGINT, signal.SIGTERM)


class TaskTerminated(BaseException):
    """Stands in for Airflow 2's AirflowTaskTerminated."""


def run_task(contender: Contender, way: str, project: Path, directory: Path) -> None:
    """A task as Airflow's worker runs it, with its handler of SIGTERM.

    :param way: how it is killed; "not at all" is a task that must not even wait for a dead one's lock.
    """
    if way == "not at all":
        os.environ["AIRFLOW__COSMOS_VENV__VIRTUALENV_MAX_RETRIES_LOCK"] = "0"
    operator = DbtRunVirtualenvOperator(
        task_id="run",
        project_dir=project,
        profile_config=harbor_profile(project),
        py_requirements=["dbt-core", "dbt-duckdb"],
        virtualenv_dir=None if way == "temporary" else directory,
    )

    def handle(number: int, frame: object) -> None:
        operator.on_kill()
        if way == "raises":
            raise TaskTerminated

    signal.signal(signal.SIGTERM, handle)
    if way != "thread":
        operator.execute({})
        return
    ended: list[BaseException | None] = []

    def execute() -> None:
        try:
            operator.execute({})
            ended.append(None)
        except BaseException as error:  # noqa: BLE001 - it is this thread's outcome
            ended.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    thread.join()
    if ended[0] is not None:
        raise ended[0]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A place in which a task is brought into a state, and let go on."""

    project: Path
    directory: Path
    wheelhouse: Wheelhouse
    pids: Pids
    lock: Callable[[Path], VenvLock]

    def set_up(self, state: str) -> tuple[Callable[[RunningRace], object], Callable[[], object]]:
        """Two functions: one waits for the state, one lets tasks go on that come later."""
        if state == "waiting for the lock":
            owner = self.pids.live()
            self.lock(self.directory).held_by(owner)
            return lambda race: race.wait_for("waiting"), lambda: self.pids.kill(owner)
        if state == "installing":
            sdist = self.wheelhouse.add_sdist("dbt-core", hold=True)
            return lambda race: race.wait_for("installing"), sdist.release
        command, _, temper = state.partition(", ")
        if command == "deps":
            (self.project / "packages.yml").write_text("packages:\n  - package: port/cranes\n")
        is_stubborn = temper == "stubborn"
        held = self.wheelhouse.script(
            command, hold=True, child=is_stubborn, ignore_signals=STUBBORN if is_stubborn else ()
        )
        return lambda _: self.wheelhouse.wait_for_call(command, held=True), held.release


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the tasks."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def stage(
    cosmos_dbt: CosmosDbt,
    cosmos_lock: CosmosLock,
    dbt_project: Path,
    tmp_path: Path,
) -> Stage:
    (tmp_path / "environments").mkdir()
    return Stage(
        project=dbt_project,
        directory=tmp_path / "environments",
        wheelhouse=cosmos_dbt,
        pids=cosmos_lock.pids,
        lock=cosmos_lock,
    )


STATES = [
    "waiting for the lock",
    "installing",
    "deps, polite",
    "deps, stubborn",
    "run, polite",
    "run, stubborn",
]
ENDS = {
    "returns": "raised AirflowException: Task run was killed; its dbt was ended.",
    "raises": "raised TaskTerminated: ",
    "thread": "raised AirflowException: Task run was killed; its dbt was ended.",
    "killed": "killed by SIGKILL",
    "temporary": "raised AirflowException: Task run was killed; its dbt was ended.",
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("state", "way"),
    [
        *((state, way) for state in STATES for way in ("returns", "raises", "killed")),
        ("installing", "temporary"),
        ("run, stubborn", "temporary"),
        ("run, stubborn", "thread"),
        ("waiting for the lock", "thread"),
    ],
)
def test_a_task_that_is_killed_leaves_nothing_and_the_next_one_succeeds(
    stage: Stage, state: str, way: str, cosmos_race: CosmosRace, temporary: Path
) -> None:
    wait_until_there, let_go = stage.set_up(state)
    with cosmos_race.start(run_task, way, stage.project, stage.directory, contenders=1) as race:
        wait_until_there(race)
        began = time.monotonic()
        os.kill(race.pids[0], signal.SIGKILL if way == "killed" else signal.SIGTERM)
        killed = race.finish(check=False)  # waits for what is left running, for five seconds
    print(f"{state}, {way}: over after {time.monotonic() - began:.2f} s")

    assert killed.left_behind == ()
    assert killed.outcomes[0].in_words == ENDS[way]
    if way != "killed":
        assert list(temporary.iterdir()) == []
        if state != "waiting for the lock":
            assert not (stage.directory / "cosmos_virtualenv.lock").exists()

    let_go()
    after = cosmos_race(run_task, "not at all", stage.project, stage.directory, contenders=1)

    assert after.left_behind == ()
    assert not (stage.directory / "cosmos_virtualenv.lock").exists()
    assert list(temporary.iterdir()) == []
