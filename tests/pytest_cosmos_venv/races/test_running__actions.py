"""Contenders are killed, stopped and continued where the test says, and it is said when that cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import Contender, CosmosDbt, CosmosRace, FakeVenv
from pytest_cosmos_venv.errors import ToolkitMisuse
from tests.waiting import wait_until

LOCK = "cosmos_virtualenv.lock"


def install_or_wait(contender: Contender, directory: Path, stay_at: str, command: list[str]) -> str:
    """A task as any implementation has it: one installs and runs, the others wait; a dead owner's lock is taken over.

    Who is first stays where the test says, so that it has to be killed or continued there.
    """
    with contender.span("waiting"):
        is_first = take(directory / LOCK)
        while not is_first and not take_over(directory / LOCK):
            print("Waiting for virtualenv lock to be released")
            time.sleep(0.005)  # noqa: TID251 - a contender that is killed or continued
    if stay_at == "locked" and is_first:
        time.sleep(60)  # noqa: TID251 - a contender that is killed or continued
    (directory / "lib").mkdir(exist_ok=True)
    (directory / "lib" / "first").touch()
    if stay_at == "creating" and is_first:
        time.sleep(60)  # noqa: TID251 - a contender that is killed or continued
    contender.point("halfway")
    if command and is_first:
        subprocess.run(command, check=True)
    (directory / LOCK).unlink()
    return "installed" if is_first else "took over"


def take(lock: Path) -> bool:
    draft = lock.with_suffix(f".{os.getpid()}")
    draft.write_text(str(os.getpid()))
    try:
        os.link(draft, lock)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def take_over(lock: Path) -> bool:
    try:
        owner = int(lock.read_text())
    except FileNotFoundError:
        return take(lock)
    if not psutil.pid_exists(owner):
        lock.write_text(str(os.getpid()))
        return True
    return False


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "environments"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("point", ["locked", "creating", "halfway"])
def test_who_is_first_is_killed_at_a_point_and_the_other_takes_over(
    cosmos_race: CosmosRace, directory: Path, point: str
) -> None:
    race = cosmos_race(install_or_wait, directory, point, [], kill_at=point, virtualenv_dir=directory)

    killed, winner = sorted(race.outcomes, key=lambda each: each.succeeded)
    assert killed.signal is signal.SIGKILL
    assert winner.value == "took over"
    assert race.sightings[point].actor == killed.actor
    assert race.timeline.order("killed by SIGKILL") == (killed.actor,)
    assert race.timeline.order(point)[0] == killed.actor
    assert all(span.ended_at for span in race.timeline)
    assert not list(directory.glob(f"{LOCK}*"))


def test_who_installs_is_killed_while_the_build_hook_of_an_sdist_runs(
    cosmos_race: CosmosRace, cosmos_dbt: CosmosDbt, directory: Path
) -> None:
    sdist = cosmos_dbt.add_sdist(hold=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "dbt-core", "-w", str(directory / "lib")]
    command = [*pip, *cosmos_dbt.pip_install_options]

    race = cosmos_race(install_or_wait, directory, "", command, kill_at="installing", grace=0)

    killed, winner = sorted(race.outcomes, key=lambda each: each.succeeded)
    assert killed.signal is signal.SIGKILL
    assert winner.value == "took over"
    (build,) = sdist.builds
    assert not build.succeeded
    assert not build.is_running, "what a killed contender leaves behind is ended with the race"
    assert any(f"PID {build.pid}: " in words for words in race.left_behind)
    assert race.timeline.order("install") == (killed.actor,)


def test_who_runs_dbt_is_killed_when_the_look_alike_reports(
    cosmos_race: CosmosRace, cosmos_fake_venv: FakeVenv, directory: Path
) -> None:
    venv = cosmos_fake_venv
    venv.script("run", nth=1, hold=True)
    (directory / "dbt_project.yml").write_text("name: harbor\nprofile: harbor\n")
    dbt = [str(venv.dbt), "run", "--project-dir", str(directory)]

    race = cosmos_race(install_or_wait, directory, "", dbt, kill_at="running", grace=0)

    (killed,) = [each for each in race.outcomes if not each.succeeded]
    assert killed.signal is signal.SIGKILL
    assert race.timeline.order("dbt run") == (killed.actor,)
    assert race.timeline.spans("dbt run")[0].ended_at is None
    assert not psutil.pid_exists(venv.calls[0].pid)


def start_a_child(contender: Contender) -> None:
    child = subprocess.Popen(["sleep", "600"])
    contender.point(f"started {child.pid}")
    child.wait()


def test_a_test_can_lead_the_race_by_hand(cosmos_race: CosmosRace) -> None:
    with cosmos_race.start(start_a_child, contenders=2) as race:
        children = wait_for_children(race.pids)
        assert race.running == (0, 1)

        race.stop(0)
        for pid in (race.pids[0], children[0]):
            wait_for_status(pid, psutil.STATUS_STOPPED)
        race.resume(0)
        for pid in (race.pids[0], children[0]):
            wait_for_status(pid, psutil.STATUS_SLEEPING)
        race.kill(1, tree=True)
        psutil.wait_procs([psutil.Process(children[1])] if psutil.pid_exists(children[1]) else [], timeout=10)
        assert not psutil.pid_exists(children[1])
        assert psutil.pid_exists(children[0])
        race.timeline.assert_count("stopped", 1)
        with pytest.raises(ToolkitMisuse, match="There is no contender 2: they are 0 to 1"):
            race.kill(2)

    assert not [pid for pid in (*race.pids, *children) if psutil.pid_exists(pid)]


def wait_for_children(pids: tuple[int, ...]) -> list[int]:
    def child_of(pid: int) -> int | None:
        return next((child.pid for child in psutil.Process(pid).children() if child.name() == "sleep"), None)

    wait_until(lambda: all(map(child_of, pids)))
    return [child_of(pid) or 0 for pid in pids]


def wait_for_status(pid: int, status: str) -> None:
    wait_until(lambda: psutil.Process(pid).status() == status)
