"""What tasks that watch a producer are told: by the files of its journal, by its XCom, by Airflow's state of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import compat
from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.operators.run.journal_record import JournalFiles, TryRecord, folder_of, packed
from cosmos_venv.operators.watch import feed
from cosmos_venv.operators.watch.feed import Feed, Producer, look, watching

NODE = "model.shop.orders"
PLACE = {"dag_id": "shop", "run_id": "one", "map_index": -1}
PRODUCER = Producer(key="0" * 32, task_id="dbt_producer_watcher", place=PLACE)
FIRST_LINE = {"begun": {"number": 1, "max_tries": 1}}


def ended(status: str, at: float = 2.0, text: str = "1 of 1 OK") -> dict[str, Any]:
    return {"id": NODE, "outcome": [status], "at": at, "text": text}


class Airflow:
    """:ivar state: of the producer; an exception is raised.
    :ivar published: the text of its XCom.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state: str | Exception | None = "running"
        self.published: str | Exception | None = None
        self.questions = 0
        monkeypatch.setattr(compat, "task_states", self._states)
        monkeypatch.setattr(compat, "xcom", self._xcom)
        monkeypatch.setattr(feed, "_BETWEEN_READINGS", 0.001)
        monkeypatch.setattr(feed, "_BETWEEN_QUESTIONS", 0.001)

    def _xcom(self, *_: Any, **__: Any) -> str | None:
        if isinstance(self.published, Exception):
            raise self.published
        return self.published

    def _states(self, task_ids: list[str], **_: Any) -> dict[str, str | None]:
        self.questions += 1
        if isinstance(self.state, Exception):
            raise self.state
        return dict.fromkeys(task_ids, self.state)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    return Airflow(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the producer's journal."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    folder = folder_of(PRODUCER.key)
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    return folder


def write(folder: Path, *lines: dict[str, Any], number: int = 1, rest: str = "") -> None:
    with (folder / f"{number:04}.jsonl").open("a") as file:
        file.write("".join(f"{json.dumps(line)}\n" for line in lines) + rest)


def outcomes_in(record: TryRecord | None) -> dict[str, NodeOutcome]:
    assert record is not None
    return record.outcomes


async def until(feed: Feed, has_come: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not has_come():
            await feed.wait_for_change()

    await asyncio.wait_for(wait(), 20)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_lines_are_read_once_and_half_a_line_when_it_is_whole(folder: Path) -> None:
    files = JournalFiles(folder)
    write(folder, FIRST_LINE, ended("success"), rest='{"id": "model.shop.lines", "outc')

    assert files.read() is True
    assert files.read() is False
    write(folder, rest='ome": ["error"], "at": 3.0}\n')
    assert files.read() is True

    assert {node: each.status for node, each in outcomes_in(files.record).items()} == {
        NODE: "success",
        "model.shop.lines": "error",
    }
    assert files.texts[NODE] == ["1 of 1 OK"]


@pytest.mark.parametrize("last", [1, 2], ids=["a-retry", "a-producer-that-was-cleared"])
def test_the_newest_try_alone_counts(folder: Path, last: int) -> None:
    """It says itself which nodes it takes over."""
    files = JournalFiles(folder)
    write(folder, FIRST_LINE, ended("success"), {"end": "failed"})
    files.read()
    write(folder, {"begun": {"number": 2, "max_tries": last}}, number=2)

    files.read()

    assert files.record is not None
    assert (files.record.number, files.record.end, files.record.outcomes) == (2, "", {})
    assert files.texts[NODE] == ["1 of 1 OK"]


@pytest.mark.parametrize("text", ["", '{"begun": {"num'], ids=["empty", "half-a-line"])
def test_a_try_that_was_killed_before_its_first_line_hides_nothing(folder: Path, text: str) -> None:
    write(folder, FIRST_LINE, ended("success"))
    write(folder, number=2, rest=text)

    files = JournalFiles(folder)
    files.read()

    assert outcomes_in(files.record).keys() == {NODE}


def test_a_run_that_is_made_again_begins_with_nothing(folder: Path) -> None:
    files = JournalFiles(folder)
    write(folder, FIRST_LINE, ended("success"))
    files.read()

    (folder / "0001.jsonl").unlink()
    files.read()
    assert files.record is None
    write(folder, FIRST_LINE)
    files.read()

    assert outcomes_in(files.record) == {}


def test_a_task_is_told_what_comes_while_it_watches(airflow: Airflow, folder: Path) -> None:
    async def watch() -> None:
        async with watching(PRODUCER) as found:
            write(folder, FIRST_LINE)
            await until(found, lambda: found.record is not None)
            write(folder, ended("success"))
            await until(found, lambda: NODE in outcomes_in(found.record))

    run(watch())


def test_the_state_is_older_than_the_journal_that_goes_with_it(airflow: Airflow, folder: Path) -> None:
    """A producer that is over has written all that it writes: else a node would count as missing."""

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.state == "running")
            write(folder, FIRST_LINE, ended("success"), {"end": "success"})
            airflow.state = "success"
            await until(found, lambda: found.state == "success")
            assert NODE in outcomes_in(found.record)

    for _ in range(20):
        airflow.state = "running"
        (folder / "0001.jsonl").unlink(missing_ok=True)
        run(watch())


def test_a_host_without_the_files_asks_the_xcom(airflow: Airflow, folder: Path) -> None:
    record = TryRecord(number=1, max_tries=0, outcomes={NODE: NodeOutcome("success", 1)})
    airflow.published = packed(PRODUCER.key, record)

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.record == record)

    run(watch())
    assert look(PRODUCER)[2] == record


def test_a_producer_that_ended_elsewhere_as_its_try_here_did_is_read_there(airflow: Airflow, folder: Path) -> None:
    """The node was built by the second try, on another host; both tries failed by another node."""
    write(folder, FIRST_LINE, ended("skipped"), {"end": "failed"})
    second = TryRecord(number=2, max_tries=0, outcomes={NODE: NodeOutcome("success", 2)}, end="failed")
    airflow.state, airflow.published = "failed", packed(PRODUCER.key, second)

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.has_looked)
            assert found.record == second

    run(watch())


def test_an_airflow_that_does_not_answer_is_asked_again(airflow: Airflow, folder: Path) -> None:
    airflow.state = RuntimeError("500 Server Error")

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            write(folder, FIRST_LINE, ended("success"))
            await until(found, lambda: found.record is not None)
            airflow.state = "success"
            await until(found, lambda: found.state == "success")

    run(watch())


def test_the_next_try_on_another_host_is_seen_beside_the_files_of_the_one_before(
    airflow: Airflow, folder: Path
) -> None:
    write(folder, FIRST_LINE, ended("error"), {"end": "failed"})
    second = TryRecord(number=2, max_tries=1, outcomes={NODE: NodeOutcome("success", 2)})
    airflow.published = packed(PRODUCER.key, second)

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.record == second)

    run(watch())
    assert look(PRODUCER)[2] == second


def test_an_xcom_that_cannot_be_read_holds_a_task_up_for_a_while_only(
    airflow: Airflow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_MOST_FAILURES", 3)
    airflow.state, airflow.published = "failed", RuntimeError("no such bucket")

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.state == "failed")
            assert found.problem == "RuntimeError: no such bucket"

    run(watch())
