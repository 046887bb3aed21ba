"""The trigger of a task that watches nodes: what it waits for, and how it ends the task."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
from airflow.triggers.base import TriggerEvent

from cosmos_venv import compat
from cosmos_venv.operators.run.journal import journal_key
from cosmos_venv.operators.run.journal_record import folder_of
from cosmos_venv.operators.watch import feed, trigger
from cosmos_venv.operators.watch.trigger import DbtNodeTrigger

NODE = "model.shop.orders"
PRODUCER = "dbt_producer_watcher"
BEGUN = datetime(2026, 1, 1, tzinfo=timezone.utc)
FIRST_LINE = {"begun": {"number": 1, "max_tries": 0}}


class WriteLines(Protocol):
    """Write lines of the producer's journal, behind the one with which its try begins."""

    def __call__(self, *lines: dict[str, Any]) -> None: ...


class Airflow:
    """:ivar xcoms: of the task and of the producer, by key.
    :ivar states: of tasks, by id; each question is answered by the first of a list, until one is left."""

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.states: dict[str, list[str | Exception | None]] = {PRODUCER: ["running"]}

    def answer(self, task_ids: list[str], **_: Any) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for each in task_ids:
            answers = self.states[each]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            found[each] = answer
        return found


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(compat, "task_states", airflow.answer)
    monkeypatch.setattr(compat, "xcom", lambda key, **_: airflow.xcoms.get(key))
    monkeypatch.setattr(feed, "_BETWEEN_READINGS", 0.001)
    monkeypatch.setattr(feed, "_BETWEEN_QUESTIONS", 0.001)
    monkeypatch.setattr(trigger, "_BETWEEN_LOOKS", 0.001)
    return airflow


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteLines:
    """Write lines of the producer's journal."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    folder = folder_of(key_of_journal())
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)

    def write(*lines: dict[str, Any]) -> None:
        with (folder / "0001.jsonl").open("a") as file:
            file.write("".join(f"{json.dumps(line)}\n" for line in (FIRST_LINE, *lines)))

    return write


def key_of_journal() -> str:
    return str(journal_key({"ti": task_instance(), "dag_run": SimpleNamespace(start_date=BEGUN)}, PRODUCER))


def task_instance(number: int = 1) -> Any:
    """The task as the triggerer gives it to a trigger that it has begun without a worker."""
    return SimpleNamespace(
        dag_id="shop",
        run_id="one",
        task_id="orders_run",
        map_index=-1,
        try_number=number,
        get_template_context=lambda: {"dag_run": SimpleNamespace(start_date=BEGUN)},
    )


def test_a_waiting_task_keeps_no_dag() -> None:
    """Airflow deserializes the DAG for each task that starts in the triggerer, 3 MB for 1,000 tasks."""
    context = {"dag": "the whole DAG", "dag_run": SimpleNamespace(start_date=BEGUN)}
    ti = task_instance()
    vars(ti).update(task="a task of that DAG", get_template_context=lambda: context)

    producer = DbtNodeTrigger(["model.shop.orders"], PRODUCER)._producer(ti)

    assert producer.key == key_of_journal()
    assert (ti.task, context) == (None, {})


def event_of(waiting: DbtNodeTrigger, ti: Any) -> TriggerEvent:
    vars(waiting).update(_task_instance=ti, task_instance=ti)  # the second one before Airflow 3.3

    async def only() -> TriggerEvent:
        events = [event async for event in waiting.run()]
        assert len(events) == 1
        return events[0]

    return asyncio.run(asyncio.wait_for(only(), 20))


def line(status: str, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"id": NODE, "outcome": [status, 1, "", seconds], "at": 2.0, "text": "said", **more}


@pytest.mark.parametrize(
    ("status", "event"),
    [("success", "TaskSuccessEvent"), ("error", "TaskFailedEvent"), ("skipped", "TaskSkippedEvent")],
)
def test_it_ends_the_task_as_dbt_has_ended_the_node(
    status: str, event: str, airflow: Airflow, write: WriteLines, capsys: pytest.CaptureFixture[str]
) -> None:
    write(line(status, seconds=1.5, sql=" select 1 "))

    found: Any = event_of(DbtNodeTrigger([NODE], PRODUCER), task_instance())

    message = "" if status == "success" else "said"
    row = {"node": NODE, "status": status, "seconds": 1.5, "rows": None, "message": message, "try_number": 1}
    assert type(found).__name__ == event
    told = {"key": key_of_journal(), "number": 1}
    assert found.xcoms == {"dbt_node": [row], "compiled_sql": "select 1", "dbt_told": told}
    logged = capsys.readouterr().out
    assert 0 < logged.index("said") < logged.index(f"{NODE}: {status}")


class FullLog:
    """A log that takes no line until somebody reads it.

    :ivar is_full: set when a line has come.
    :ivar is_read: lets lines in.
    """

    def __init__(self) -> None:
        self.is_full = Event()
        self.is_read = Event()
        self.lines: list[str] = []

    def info(self, _: str, text: str) -> None:
        self.is_full.set()
        assert self.is_read.wait(10), "the log was not read"
        self.lines.append(text)

    error = warning = info


@pytest.mark.parametrize("status", ["success", "error"])
def test_a_full_log_does_not_hold_up_other_triggers(status: str, airflow: Airflow, write: WriteLines) -> None:
    """The event loop reads the triggers that come: it must go on, or the log is never read."""
    write(line(status))
    waiting, log = DbtNodeTrigger([NODE], PRODUCER), FullLog()
    vars(waiting)["_log"] = log
    vars(waiting)["_task_instance"] = task_instance()

    async def read_log_and_event() -> None:
        event = asyncio.ensure_future(anext(waiting.run()))
        await asyncio.to_thread(log.is_full.wait, 10)
        log.is_read.set()
        await event

    asyncio.run(asyncio.wait_for(read_log_and_event(), 20))
    assert log.lines[0] == "said"
    assert log.lines[1].startswith(f"{NODE}: {status}.")


def test_a_release_that_would_not_try_a_failed_task_again_fails_it_on_a_worker(
    airflow: Airflow, write: WriteLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "TASKS_START_AS_TRIGGERS", False)
    write(line("error"))

    found = event_of(DbtNodeTrigger([NODE], PRODUCER, try_number=1), task_instance())

    told = {"number": 0, "failures": 0}
    expected = {"action": "fail", "reason": f"{NODE}: error.\nsaid", "told": told, "try_number": 1}
    assert expected.items() <= found.payload.items()


def test_a_worker_fails_the_task_where_it_decides_whether_there_is_another_try(
    airflow: Airflow, write: WriteLines
) -> None:
    """dbt 1 says why a node has failed when the whole run has ended."""
    airflow.states[PRODUCER] = ["running", "running", "failed"]
    write(line("error"))

    found = event_of(DbtNodeTrigger([NODE], PRODUCER, retry_on=["sql"]), task_instance())

    assert airflow.states[PRODUCER] == ["failed"]
    assert (found.payload["action"], found.payload["kinds"]) == ("fail", ["warehouse"])
    assert found.payload["xcoms"]["dbt_node"][0]["node"] == NODE


def test_a_producer_that_has_failed_without_a_word_fails_the_task(airflow: Airflow, write: WriteLines) -> None:
    airflow.states[PRODUCER] = ["running", "running", "failed"]
    write()

    found: Any = event_of(DbtNodeTrigger([NODE], PRODUCER), task_instance())

    assert type(found).__name__ == "TaskFailedEvent"
    assert found.xcoms == {}


def test_a_later_try_runs_its_node_alone_once_the_tasks_before_it_are_over(airflow: Airflow, write: WriteLines) -> None:
    """An Airflow that does not answer is asked again."""
    airflow.states |= {PRODUCER: ["failed"], "raw_run": [None, RuntimeError("500"), "running", "success"]}
    write(line("error"))

    found = event_of(DbtNodeTrigger([NODE], PRODUCER, ["raw_run"]), task_instance(number=2))

    assert found.payload["action"] == "run alone"
    assert airflow.states["raw_run"] == ["success"]


@pytest.mark.parametrize("kept", [dict, json.dumps], ids=["as-it-was", "as-a-text"])
def test_a_task_that_was_cleared_after_it_was_told_of_its_node_runs_it_again(
    kept: Callable[[Any], Any], airflow: Airflow, write: WriteLines
) -> None:
    airflow.states[PRODUCER] = ["success"]
    airflow.xcoms["dbt_told"] = kept({"key": key_of_journal(), "number": 1})
    write(line("success"))

    assert event_of(DbtNodeTrigger([NODE], PRODUCER), task_instance(number=2)).payload["action"] == "run alone"


@pytest.mark.parametrize("told", [None, {"key": "of another run", "number": 9}], ids=["nothing", "of-another-run"])
def test_a_task_that_was_never_told_of_a_done_node_is_told(told: object, airflow: Airflow, write: WriteLines) -> None:
    """Its try before was timed out, or the whole run was cleared."""
    airflow.states[PRODUCER] = ["success"]
    airflow.xcoms["dbt_told"] = told
    write(line("success"))

    found = event_of(DbtNodeTrigger([NODE], PRODUCER), task_instance(number=2))
    assert type(found).__name__ == "TaskSuccessEvent"


def test_a_run_without_a_scheduler_goes_on_with_other_tasks() -> None:
    """dag.test() runs one trigger to its end before anything else."""
    assert event_of(DbtNodeTrigger([NODE], PRODUCER), None).payload["action"] == "wait"


def test_it_is_made_again_of_what_airflow_keeps() -> None:
    waiting = DbtNodeTrigger([NODE], PRODUCER, ["raw_run"], key="0" * 32, told={"number": 1}, try_number=2)
    path, arguments = waiting.serialize()

    module, _, name = path.rpartition(".")
    assert (module, name) == (DbtNodeTrigger.__module__, "DbtNodeTrigger")
    assert DbtNodeTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


def test_a_retry_that_begins_while_nothing_is_published_lets_the_trigger_find_out_what_it_was_told(
    airflow: Airflow, write: WriteLines
) -> None:
    """Airflow has deleted the XCom of the producer's first try, and a trigger that waits still knows it."""
    deferred: list[Any] = []

    def defer(*, trigger: DbtNodeTrigger, **_: object) -> None:
        deferred.append(trigger)
        raise Deferred

    airflow.states[PRODUCER] = ["running"]

    with pytest.raises(Deferred):
        trigger.look_or_defer(sensor(defer), context_of(number=2, max_tries=1))
    write(line("error"))
    (waiting,) = deferred
    airflow.states[PRODUCER] = ["running", "running", "failed"]

    assert waiting.told is None
    assert event_of(waiting, task_instance(number=2)).payload["action"] == "run alone"


@pytest.mark.parametrize(
    ("number", "max_tries", "nodes"),
    [
        pytest.param(2, 1, [], id="retry"),
        pytest.param(2, 2, [NODE], id="cleared"),
        pytest.param(3, 2, [NODE], id="retry-of-a-cleared-task"),
    ],
)
def test_a_task_that_was_cleared_runs_its_node_again_in_a_retry_too(
    airflow: Airflow, write: WriteLines, number: int, max_tries: int, nodes: list[str]
) -> None:
    """On a worker, where Airflow has deleted the XCom that says what its tries before were told."""
    airflow.states[PRODUCER] = ["success"]
    write(line("success"))

    assert trigger.look_or_defer(sensor(), context_of(number=number, max_tries=max_tries)) == nodes


def sensor(defer: Callable[..., None] | None = None) -> Any:
    """A task that watches, with one retry."""
    of_trigger = {"node_ids": [NODE], "producer_task_id": PRODUCER, "parents": [], "retry_on": []}
    return SimpleNamespace(
        **of_trigger,
        trigger_arguments=of_trigger,
        retries=1,
        deferrable=True,
        defer=defer,
        log=logging.getLogger("task"),
    )


def context_of(*, number: int, max_tries: int) -> dict[str, Any]:
    """Airflow's context of the task on a worker."""
    begun = datetime.now(timezone.utc)
    more = {"max_tries": max_tries, "start_date": begun, "xcom_push": lambda **_: None}
    return {"ti": SimpleNamespace(**vars(task_instance(number)), **more), "dag_run": SimpleNamespace(start_date=BEGUN)}


class Deferred(Exception):
    """In place of Airflow's own."""
