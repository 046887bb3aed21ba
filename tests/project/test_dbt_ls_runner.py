"""dbt ls in a process that outlives the import of a DAG file, and its end where it could not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import cosmos_venv.compat  # noqa: F401 - Airflow's import takes longer than some tests have
from cosmos_venv.config import ProfileConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from tests.project.ls_place import DEADLINE, NODES, SAY, Place, loading, until
from tests.waiting import wait_until

A_WHILE = 2 * DEADLINE
A_MOMENT = 3.0
BEING_ASKED = (
    r"has been running (for \d+ s by process \d+|by a process that has just started), log file \S+\.log; "
    r"the next parse will find its answer\. A manifest needs no dbt: LoadMode\.DBT_MANIFEST\."
)


class Gate:
    """A dbt that waits until the gate is opened."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.file, self._pid = folder / "gate", folder / "dbt.pid"
        self._place = place
        os.mkfifo(self.file)
        place.let_dbt(f"echo $$ > '{self._pid}'; cat '{self.file}' > /dev/null; {SAY}")

    def open(self) -> None:
        """Let dbt go on, once it is there."""
        wait_until(lambda: self._place.calls, "dbt was not started")
        with self.file.open("w"):
            pass

    @property
    def dbt(self) -> int:
        """Process id of the dbt that was started last."""
        wait_until(lambda: self._pid.exists() and self._pid.read_text().strip(), "dbt was not started")
        return int(self._pid.read_text())


@pytest.fixture
def gate(place: Place, tmp_path: Path) -> Iterator[Gate]:
    made = Gate(place, tmp_path)
    yield made
    for pid in workers(place):  # what a failing test has left
        os.kill(pid, signal.SIGKILL)


def workers(place: Place) -> list[int]:
    """Processes that are at work for the project's cache."""
    files = (place.cache / "dbt-ls-detached-v1").glob("*.pid")
    return [pid for file in files if (text := file.read_text()) and psutil.pid_exists(pid := int(text))]


def is_over(place: Place) -> bool:
    return not workers(place)


@pytest.mark.long
def test_a_dbt_ls_that_takes_too_long_is_told_and_the_next_parse_finds_its_answer(place: Place, gate: Gate) -> None:
    with pytest.raises(CosmosLoadDbtException, match=f"^dbt ls of {place.project} {BEING_ASKED}$") as told:
        place.load(seconds=A_MOMENT)
    assert psutil.pid_exists(gate.dbt)
    with pytest.raises(CosmosLoadDbtException, match=r"for \d+ s by process"):
        place.load(seconds=A_MOMENT)
    gate.open()
    wait_until(lambda: is_over(place), "the process did not end")
    made = place.load(seconds=A_WHILE)

    assert told.value.__cause__ is None
    assert (made.load_method, len(made.nodes)) == (LoadMode.DBT_LS_CACHE, NODES)
    assert place.calls == 1


def test_an_answer_that_comes_in_time_is_that_of_this_parse(place: Place) -> None:
    made = place.load(seconds=A_WHILE)

    assert (made.load_method, len(made.nodes)) == (LoadMode.DBT_LS, NODES)
    assert made.version is not None
    assert place.load(seconds=A_WHILE).load_method is LoadMode.DBT_LS_CACHE
    assert place.calls == 1


@pytest.mark.long
def test_the_process_outlives_who_asked_and_holds_nothing_of_it(place: Place, gate: Gate) -> None:
    """Airflow 3's supervisor waits for whoever holds a descriptor of a task; the end of a group reaches its members."""
    first = loading(place, str(A_MOMENT))
    assert "CosmosLoadDbtException dbt ls of" in until(first, "CosmosLoadDbtException")
    first.wait(DEADLINE)
    dbt = gate.dbt
    (worker,) = workers(place)
    watched = [worker, dbt]
    files = {str(path) for process in watched for path in Path(f"/proc/{process}/fd").iterdir()}
    held = {os.readlink(path) for path in files}  # noqa: PTH115 - pipes are no paths
    groups = {os.getsid(process) for process in watched}
    gate.open()

    assert first.stdout is not None
    assert not {f"pipe:[{os.fstat(first.stdout.fileno()).st_ino}]"} & held
    assert os.getsid(0) not in groups
    assert not [process for process in psutil.Process().children(recursive=True) if process.pid in watched]
    wait_until(lambda: is_over(place), "the process did not end")
    assert place.load(seconds=A_WHILE).load_method is LoadMode.DBT_LS_CACHE


@pytest.mark.long
def test_of_many_parses_one_process_asks_dbt(place: Place, gate: Gate) -> None:
    parses = [loading(place, str(A_MOMENT)) for _ in range(3)]
    said = [until(parse, "CosmosLoadDbtException") for parse in parses]
    gate.open()
    wait_until(lambda: is_over(place), "the process did not end")

    assert all("has been running" in line for line in said)
    assert place.calls == 1


@pytest.mark.long
def test_a_failure_is_told_by_the_next_parses_and_tried_again_after_a_minute(place: Place, gate: Gate) -> None:
    place.let_dbt(f"cat '{gate.file}' > /dev/null; echo 'no such model'; exit 2")
    with pytest.raises(CosmosLoadDbtException, match="has been running"):
        place.load(seconds=A_MOMENT)
    gate.open()
    wait_until(lambda: is_over(place), "the process did not end")
    for _ in range(2):
        with pytest.raises(
            CosmosLoadDbtException,
            match=r"(?s)^dbt ls ended with exit code 2.*no such model.*\(Tried \d+ s ago",
        ):
            place.load(seconds=A_WHILE)
    assert place.calls == 1

    (failure,) = (place.cache / "dbt-ls-detached-v1").glob("*.failed")
    os.utime(failure, (time.time() - 61,) * 2)
    place.let_dbt(SAY)
    assert len(place.load(seconds=A_WHILE).nodes) == NODES


def test_a_process_that_was_killed_is_followed_by_another_and_leaves_no_dbt(place: Place, gate: Gate) -> None:
    with pytest.raises(CosmosLoadDbtException):
        place.load(seconds=A_MOMENT)
    dbt = gate.dbt
    (worker,) = workers(place)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(dbt), "dbt goes on without anybody who waits for it")
    place.let_dbt(SAY)
    with pytest.raises(CosmosLoadDbtException, match="The process"):
        place.load(seconds=A_WHILE)

    assert len(place.load(seconds=A_WHILE).nodes) == NODES


@pytest.mark.long
def test_no_secret_is_on_a_command_line_or_a_disk(
    place: Place, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    connection = "postgres://harbor:s3cret-of-it@db/harbor?__extra__=%7B%7D"
    monkeypatch.setenv("AIRFLOW_CONN_HARBOR", connection)
    graph = place.graph(given={"TOKEN": "s3cret-of-mine"}, enable_mock_profile=False)
    mapping = PostgresUserPasswordProfileMapping(conn_id="harbor", profile_args={"schema": "public", "dbname": "h"})
    graph.profile_config = ProfileConfig("harbor", "dev", profile_mapping=mapping)
    monkeypatch.setattr(place, "graph", lambda **_: graph)
    place.let_dbt(f"cat '{gate.file}' > /dev/null; echo \"$POSTGRES_PASSWORD\" $(env | grep s3cret); exit 2")

    with pytest.raises(CosmosLoadDbtException, match="has been running"):
        place.load(seconds=A_MOMENT)
    wait_until(lambda: place.calls, "dbt was not started")
    (worker,) = workers(place)
    running = [psutil.Process(worker), *psutil.Process(worker).children(recursive=True)]
    command_lines = [" ".join(process.cmdline()) for process in running]
    files = [path for folder in (place.cache, tmp_path / "tmp") for path in folder.rglob("*") if path.is_file()]
    on_disk = [path for path in files if b"s3cret" in path.read_bytes()]
    gate.open()
    wait_until(lambda: is_over(place), "the process did not end")
    with pytest.raises(CosmosLoadDbtException) as failed:
        place.load(seconds=A_WHILE)

    assert len(command_lines) > 2
    assert not [line for line in command_lines if "s3cret" in line]
    assert on_disk == []
    assert "s3cret-of-it" not in str(failed.value)


@pytest.mark.long
def test_a_dbt_whose_answer_cannot_be_kept_ends_with_the_parse(place: Place, gate: Gate) -> None:
    """No later parse would find the answer, so a process that outlives this one would be of no use."""
    with (place.project / "dbt_project.yml").open("a") as file:
        file.write("\nvars: {a: '{{ env_var(x) }}'}\n")

    with pytest.raises(TimeoutError, match="Airflow's import time-out"):
        place.load(seconds=5.0)

    assert not psutil.pid_exists(gate.dbt)
    assert not (place.cache / "dbt-ls-detached-v1").exists()


@pytest.mark.long
def test_other_machines_get_the_answer_by_the_parse_that_finds_it(
    place: Place, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_CACHE_DIR", f"file://{tmp_path}/shared")
    with pytest.raises(CosmosLoadDbtException, match="has been running"):
        place.load(seconds=A_MOMENT)
    gate.open()
    wait_until(lambda: is_over(place), "the process did not end")
    place.load(seconds=A_WHILE)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "south"))
    place.load(seconds=A_WHILE)

    assert place.calls == 1


def test_a_dbt_that_is_not_there_is_told_at_once(place: Place) -> None:
    place.dbt.unlink()

    with pytest.raises(CosmosConfigException, match="cannot be started"):
        place.load(seconds=A_WHILE)
