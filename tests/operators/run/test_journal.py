"""The journal of a task of several nodes: what is written where, how often, and what the next try reads."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import msgspec
import pytest

from cosmos_venv import compat
from cosmos_venv.dbt.log_lines import SUCCESS, NodeEvent, NodeOutcome
from cosmos_venv.operators.run.journal import Journal, present_try
from cosmos_venv.operators.run.journal_record import TryRecord, packed
from pytest_cosmos_venv import CosmosAirflow
from tests.odd_files import KINDS, plant

KEY = "c0ffee"


class OpenJournal(Protocol):
    """Open the journal of one try of the task, of which Airflow makes ``last`` and one more."""

    def __call__(self, number: int = 1, *, last: int = 2) -> Journal: ...


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the journal sees, as the only element."""
    now = [1_000.0]
    monkeypatch.setattr(f"{Journal.__module__}.time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    return now


@pytest.fixture
def open_journal(cosmos_airflow: CosmosAirflow) -> OpenJournal:
    assert not cosmos_airflow.variables.values

    def open_journal(number: int = 1, *, last: int = 2) -> Journal:
        journal = Journal(KEY, TryRecord(number=number, max_tries=last), logging.getLogger("task"))
        journal.begin(done_in(journal.earlier()))
        return journal

    return open_journal


def event(name: str, status: str = "success", *, kind: str = "LogModelResult") -> NodeEvent:
    return NodeEvent(name=kind, thread="", unique_id=f"model.harbor.{name}", status=status, text="", data={})


def done(*names: str, number: int = 1) -> dict[str, NodeOutcome]:
    return {f"model.harbor.{name}": NodeOutcome("success", number) for name in names}


def done_in(record: TryRecord | None) -> dict[str, NodeOutcome]:
    return {node: each for node, each in record.outcomes.items() if each.state == SUCCESS} if record else {}


def lose_files(cache: Path) -> None:
    """As for a worker on another host."""
    for file in cache.rglob("*.jsonl"):
        file.unlink()


def test_a_variable_is_written_once_a_second_at_most(
    open_journal: OpenJournal, cosmos_airflow: CosmosAirflow, clock: list[float]
) -> None:
    journal = open_journal()
    for step in range(31):
        clock[0] = 1_000.0 + step / 10
        journal.note(event(f"n{step}"))

    assert len(cosmos_airflow.variables.writes) == 3


def test_an_outage_is_one_warning(
    open_journal: OpenJournal,
    cosmos_airflow: CosmosAirflow,
    clock: list[float],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("the API server is away")

    monkeypatch.setattr(compat, "set_variable", fail)
    journal = open_journal()
    for name in ("a", "b", "c"):
        clock[0] += 2.0
        journal.note(event(name))

    assert caplog.text.count("the API server is away") == 1
    assert "A retry on another host runs all nodes." in caplog.text


def test_a_first_try_knows_nothing(open_journal: OpenJournal, cache: Path) -> None:
    left = open_journal(2)
    left.note(event("a"))
    left.close(is_over=False)

    assert open_journal(1).record.outcomes == {}


def test_a_file_of_an_older_try_on_this_host_does_not_revive_what_has_to_run_again(
    open_journal: OpenJournal, cache: Path
) -> None:
    first = open_journal(1)
    first.note(event("a"))
    first.close(is_over=False)
    kept = cache.rename(cache.with_name("first_host"))
    second = Journal(KEY, TryRecord(number=2, max_tries=2), logging.getLogger("task"))  # on another host
    second.begin({})
    second.close(is_over=False)
    shutil.rmtree(cache)
    kept.rename(cache)

    assert open_journal(3).record.outcomes == {}


def test_a_worker_that_is_killed_before_the_shared_record_is_written_loses_nothing_on_its_host(
    open_journal: OpenJournal, clock: list[float]
) -> None:
    first = open_journal(1)
    first.note(event("a"))
    clock[0] += 2.0
    first.note(event("b"))  # writes the record
    first.note(event("c"))

    assert open_journal(2).record.outcomes == done("a", "b", "c")


def test_a_try_that_begins_twice_goes_on_with_its_own_file(open_journal: OpenJournal) -> None:
    open_journal(2).note(event("a"))
    open_journal(2).note(event("b"))

    assert open_journal(3).record.outcomes == done("a", "b", number=2)


def test_a_file_that_others_could_have_written_does_not_count(
    open_journal: OpenJournal, cosmos_airflow: CosmosAirflow, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = open_journal(1)
    journal.note(event("a"))
    (folder,) = cache.rglob(KEY)
    folder.chmod(0o777)

    assert open_journal(2).record.outcomes == {}
    assert "others can write there" in caplog.text


def context_of(start: datetime | None, *, run_id: str = "night") -> dict[str, object]:
    ti = SimpleNamespace(dag_id="harbor", run_id=run_id, task_id="all_batch", try_number=2, max_tries=3)
    return {"ti": ti, "run_id": run_id, "dag_run": SimpleNamespace(start_date=start)}


def test_a_run_that_was_deleted_and_made_again_under_its_name_has_a_journal_of_its_own() -> None:
    midnight = datetime(2026, 1, 1, tzinfo=timezone.utc)
    elsewhere = midnight.astimezone(timezone(timedelta(hours=9)))
    keys = [present_try(context_of(start))[0] for start in (midnight, elsewhere, midnight + timedelta(seconds=1), None)]

    assert keys[0] == keys[1] != keys[2] != keys[3]


def test_tries_before_a_clearing_do_not_count(open_journal: OpenJournal) -> None:
    before = open_journal(1, last=2)
    before.note(event("a"))
    before.close(is_over=False)

    assert open_journal(2, last=3).record.outcomes == {}


def test_each_node_keeps_the_number_of_its_try(open_journal: OpenJournal) -> None:
    for number in (1, 2):
        journal = open_journal(number)
        journal.note(event(f"of_try_{number}"))
        journal.close(is_over=False)

    assert open_journal(3).record.outcomes == done("of_try_1", number=1) | done("of_try_2", number=2)


def test_what_dbt_says_at_its_end_counts(open_journal: OpenJournal) -> None:
    journal = open_journal()
    journal.note(event("a"))
    journal.record_results({"model.harbor.a": NodeOutcome("error"), "model.harbor.b": NodeOutcome("reused")})
    journal.close(is_over=False)

    assert open_journal(2).record.outcomes == {"model.harbor.b": NodeOutcome("reused", 1)}


def test_a_batch_of_a_microbatch_model_is_not_the_model(open_journal: OpenJournal) -> None:
    journal = open_journal()
    journal.note(event("a", kind="LogBatchResult"))

    assert journal.record.outcomes == {}


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an object storage that all hosts reach, with their key."""
    (tmp_path / "key").write_text("the key of all workers")
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_CACHE_DIR", f"file://{tmp_path}/remote")
    return tmp_path / "remote"


def test_a_record_in_object_storage_that_no_worker_has_signed_lets_no_try_skip_a_node(
    open_journal: OpenJournal, cache: Path, remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_journal()
    first.note(event("a"))
    first.close(is_over=False)
    lose_files(cache)
    (file,) = (path for path in remote.rglob("*") if path.is_file())
    file.write_text(packed(KEY, TryRecord(max_tries=2, number=1, outcomes=done("a", "b"))))

    assert open_journal(2).record.outcomes == {}
    assert "it is not signed with the key of this deployment. A retry on another host runs all nodes." in caplog.text


def test_without_a_key_airflow_keeps_what_is_done(
    open_journal: OpenJournal,
    cosmos_airflow: CosmosAirflow,
    cache: Path,
    remote: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE")
    first = open_journal()
    first.note(event("a"))
    first.close(is_over=False)
    lose_files(cache)

    assert not remote.exists()
    assert open_journal(2).record.outcomes == done("a")


def test_object_storage_takes_the_place_of_the_variable(
    open_journal: OpenJournal, cosmos_airflow: CosmosAirflow, cache: Path, remote: Path
) -> None:
    first = open_journal()
    first.note(event("a"))
    first.close(is_over=False)
    lose_files(cache)

    second = open_journal(2)
    found = dict(second.record.outcomes)
    second.close(is_over=True)

    assert found == done("a")
    assert not cosmos_airflow.variables.writes
    assert [path for path in remote.rglob("*") if path.is_file()] == []


def test_each_line_says_when_it_was_written(open_journal: OpenJournal, cache: Path) -> None:
    """By the last of them two records of one try are told apart."""
    journal = open_journal()
    journal.note(event("a", "started"))
    journal.note(event("a"))
    journal.record_results({"model.harbor.b": NodeOutcome("error")})
    (file,) = cache.rglob("0001.jsonl")

    times = [json.loads(line)["at"] for line in file.read_text().splitlines()]

    assert len(set(times)) == 4
    assert times == sorted(times)


@pytest.mark.parametrize(
    "spoilt", [b'{"id": "\xff"}', b"[" * 100_000, b"\0" * 4096], ids=["not-utf-8", "deep", "zeros"]
)
def test_a_spoilt_line_takes_nothing_from_the_lines_around_it(
    open_journal: OpenJournal, cache: Path, spoilt: bytes
) -> None:
    first = open_journal(1)
    first.note(event("a"))
    (file,) = cache.rglob("0001.jsonl")
    with file.open("ab") as journal:
        journal.write(spoilt + b"\n")
    first.note(event("b"))

    assert open_journal(2).record.outcomes == done("a", "b")


def test_half_a_character_in_a_line_of_dbt_loses_no_node(open_journal: OpenJournal) -> None:
    first = open_journal(1)
    first.note(msgspec.structs.replace(event("a"), text="a path with \udcff and a line\u2028separator"))

    assert open_journal(2).record.outcomes.keys() == {"model.harbor.a"}


def test_a_journal_whose_task_never_came_to_its_end_goes_with_its_copy(
    open_journal: OpenJournal, cache: Path, remote: Path
) -> None:
    open_journal().close(is_over=False)
    (folder,) = cache.rglob(KEY)
    os.utime(folder, (0, 0))

    Journal("another", TryRecord(number=1, max_tries=0), logging.getLogger("task")).begin({})

    assert [each.name for each in folder.parent.iterdir()] == ["another"]
    assert [path for path in remote.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_that_is_no_plain_file_is_neither_waited_for_nor_followed(
    open_journal: OpenJournal, cache: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_journal(1)
    first.note(event("a"))
    (file,) = cache.rglob("0001.jsonl")
    plant(file, kind)
    plant(file.with_name("0002.jsonl"), kind)

    second = open_journal(2)
    second.note(event("b"))

    assert second.record.outcomes == done("b", number=2)
    assert "The journal of this task cannot be written: " in caplog.text
