"""What tasks that watch a producer are told: by the files of its journal, by its XCom, by Airflow's state of it."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from cosmos_venv import compat
from cosmos_venv.operators.run.journal import folder_of
from cosmos_venv.operators.run.journal_lines import Outcome, TryRecord, packed
from cosmos_venv.operators.watch import feed
from cosmos_venv.operators.watch.feed import Feed, JournalFiles, Producer, ask, look, watching

NODE = "model.shop.orders"
PRODUCER = Producer(key="0" * 32, task_id="dbt_producer_watcher", dag_id="shop", run_id="one", map_index=-1)
FIRST_LINE = {"number": 1, "last": 1, "done": {}}


def ended(status: str, at: float = 2.0, text: str = "1 of 1 OK") -> dict[str, Any]:
    return {"id": NODE, "event": "LogModelResult", "is_end": True, "status": status, "at": at, "text": text}


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


async def until(feed: Feed, has_come: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not has_come():
            await feed.change()

    await asyncio.wait_for(wait(), 20)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_lines_are_read_once_and_half_a_line_when_it_is_whole(folder: Path) -> None:
    files = JournalFiles(folder)
    write(folder, FIRST_LINE, ended("success"), rest='{"id": "model.shop.lines", "is_e')

    assert files.read() is True
    assert files.read() is False
    write(folder, rest='nd": true, "status": "error", "at": 3.0}\n')
    assert files.read() is True

    assert {node: each.status for node, each in files.tries[0].outcomes.items()} == {
        NODE: "success",
        "model.shop.lines": "error",
    }
    assert files.texts[NODE] == ["1 of 1 OK"]


def test_each_try_is_a_record(folder: Path) -> None:
    files = JournalFiles(folder)
    write(folder, FIRST_LINE, ended("error"), {"end": "failed"})
    write(folder, {"number": 2, "last": 1, "done": {}}, ended("success"), number=2)

    files.read()

    assert [(each.number, each.end, each.outcomes[NODE].status) for each in files.tries] == [
        (1, "failed", "error"),
        (2, "", "success"),
    ]


def test_a_run_that_is_made_again_begins_with_nothing(folder: Path) -> None:
    files = JournalFiles(folder)
    write(folder, FIRST_LINE, ended("success"))
    files.read()

    (folder / "0001.jsonl").unlink()
    files.read()
    assert files.tries == []
    write(folder, FIRST_LINE)
    files.read()

    assert [each.outcomes for each in files.tries] == [{}]


def test_a_folder_in_which_others_can_write_says_nothing(folder: Path) -> None:
    write(folder, FIRST_LINE, ended("success"))
    folder.chmod(0o777)

    files = JournalFiles(folder)

    assert files.read() is False
    assert files.tries == []


def test_a_task_is_told_what_comes_while_it_watches(airflow: Airflow, folder: Path) -> None:
    async def watch() -> None:
        async with watching(PRODUCER) as found:
            write(folder, FIRST_LINE)
            await until(found, lambda: bool(found.tries))
            write(folder, ended("success"))
            await until(found, lambda: NODE in found.tries[0].outcomes)

    run(watch())


def test_the_state_is_older_than_the_journal_that_goes_with_it(airflow: Airflow, folder: Path) -> None:
    """A producer that is over has written all that it writes: else a node would count as missing."""

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.state == "running")
            write(folder, FIRST_LINE, ended("success"), {"end": "success"})
            airflow.state = "success"
            await until(found, lambda: found.state == "success")
            assert NODE in found.tries[0].outcomes

    for _ in range(20):
        airflow.state = "running"
        (folder / "0001.jsonl").unlink(missing_ok=True)
        run(watch())


def test_tasks_of_a_process_read_once_for_all(airflow: Airflow, folder: Path) -> None:
    async def watch() -> None:
        async with watching(PRODUCER) as one, watching(PRODUCER) as other:
            assert one is other
        async with watching(PRODUCER) as later:
            assert later is not one, "the last one has ended it"

    run(watch())


def test_a_host_without_the_files_asks_the_xcom(airflow: Airflow, folder: Path) -> None:
    record = TryRecord(number=1, last=0, outcomes={NODE: Outcome("success", 1)})
    airflow.published = packed(PRODUCER.key, [record])

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.tries == [record])

    run(watch())
    assert look(PRODUCER)[2] == [record]


def test_an_airflow_that_does_not_answer_is_asked_again(airflow: Airflow, folder: Path) -> None:
    airflow.state = RuntimeError("500 Server Error")

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            write(folder, FIRST_LINE, ended("success"))
            await until(found, lambda: bool(found.tries))
            airflow.state = "success"
            await until(found, lambda: found.state == "success")

    run(watch())


def test_nothing_is_logged_in_the_log_of_the_task_that_came_first(airflow: Airflow, folder: Path) -> None:
    """Airflow knows by the context to which task a line belongs."""
    import contextvars

    task: contextvars.ContextVar[str] = contextvars.ContextVar("task", default="none")
    seen: set[str] = set()
    answer = compat.task_states

    def states(*arguments: Any, **options: Any) -> Any:
        seen.add(task.get())
        return answer(*arguments, **options)

    async def watch() -> None:
        task.set("orders")
        compat.task_states = states
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.state == "running")

    try:
        run(watch())
    finally:
        compat.task_states = answer
    assert seen == {"none"}


def test_the_next_try_on_another_host_is_seen_beside_the_files_of_the_one_before(
    airflow: Airflow, folder: Path
) -> None:
    write(folder, FIRST_LINE, ended("error"), {"end": "failed"})
    second = TryRecord(number=2, last=1, outcomes={NODE: Outcome("success", 2)})
    airflow.published = packed(PRODUCER.key, [second])

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: [each.number for each in found.tries] == [1, 2])

    run(watch())
    assert [each.number for each in look(PRODUCER)[2]] == [1, 2]


def test_a_trigger_that_is_cancelled_leaves_nothing_behind(airflow: Airflow, folder: Path) -> None:
    """The next one would decide on what was true then."""

    async def watch(knows: asyncio.Event) -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: found.state == "failed")
            knows.set()
            await asyncio.Event().wait()

    async def cancel() -> None:
        airflow.state = "failed"
        knows = asyncio.Event()
        task = asyncio.ensure_future(watch(knows))
        await asyncio.wait_for(knows.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert feed._feeds == {}
        async with watching(PRODUCER) as later:
            assert (later.state, later.has_looked) == (None, False)

    run(cancel())


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


def test_a_reader_that_has_died_holds_no_task_up(
    airflow: Airflow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: JournalFiles) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(JournalFiles, "read", broken)

    async def watch() -> None:
        async with watching(PRODUCER) as found:
            await until(found, lambda: False)

    with pytest.raises(ZeroDivisionError):
        run(watch())


def test_a_line_of_somebody_else_is_passed_over(folder: Path) -> None:
    write(folder, FIRST_LINE, {"id": NODE, "is_end": True, "status": "success", "seconds": "many"}, ended("success"))

    files = JournalFiles(folder)
    files.read()

    assert files.tries[0].outcomes[NODE].status == "success"


def test_a_question_is_asked_by_way_of_the_event_loop() -> None:
    """As the triggerer of Airflow 3.0 to 3.2.1 sends them, in turn with its own: in threads they got mixed up."""

    async def of_the_triggerer() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def ask_airflow() -> None:
        assert await ask(async_to_sync(of_the_triggerer)) is asyncio.get_running_loop()

    run(ask_airflow())


def test_the_answer_to_a_question_is_awaited_by_the_triggerer_where_nobody_else_does() -> None:
    """Airflow 3.0 to 3.2.1 gives the answer to a question that was cancelled to the next one that asks."""
    answers: list[str] = []

    async def of_the_triggerer() -> None:
        has_asked.set()
        await may_answer.wait()
        answers.append("read")
        has_read.set()

    async def ask_and_give_up() -> None:
        asking = asyncio.create_task(ask(async_to_sync(of_the_triggerer)))
        await has_asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        may_answer.set()
        await asyncio.wait_for(has_read.wait(), 5)

    has_asked, may_answer, has_read = asyncio.Event(), asyncio.Event(), asyncio.Event()
    run(ask_and_give_up())

    assert answers == ["read"]


def test_a_question_that_fails_when_nobody_waits_for_its_answer_says_nothing() -> None:
    told: list[dict[str, Any]] = []

    async def of_the_triggerer() -> None:
        has_asked.set()
        await may_answer.wait()
        raise ConnectionError("the API server is away")

    def question(loop: asyncio.AbstractEventLoop) -> None:
        try:
            async_to_sync(of_the_triggerer)()
        finally:
            loop.call_soon_threadsafe(has_failed.set)

    async def ask_and_give_up() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        others = asyncio.all_tasks()
        asking = asyncio.create_task(ask(question, loop))
        await asyncio.wait_for(has_asked.wait(), 5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        may_answer.set()
        await asyncio.wait_for(has_failed.wait(), 5)
        if left := asyncio.all_tasks() - others:
            await asyncio.wait(left, timeout=5)
        del left, asking
        gc.collect()  # asyncio tells of an error that nobody has asked for when its task goes

    has_asked, may_answer, has_failed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    run(ask_and_give_up())

    assert told == []
