"""Tasks of a DAG with a producer take turns in ``dag.test()``; tasks of other DAGs do not."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger, TriggerEvent

from cosmos_venv.compat import DAG, BaseOperator
from pytest_cosmos_venv import RunDag
from pytest_cosmos_venv.turns import PRODUCER, WaitsForEver, in_turns, is_producer

BEGUN: list[str] = []


class Noting(BaseOperator):
    """Notes that it has begun."""

    def execute(self, context: Any) -> None:  # noqa: ARG002
        BEGUN.append(self.task_id)


class Until(BaseTrigger):
    """Waits until a task has begun, and looks only after its first sleep."""

    def __init__(self, task_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.of_task = task_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Until", {"task_id": self.of_task}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(60)
        while self.of_task not in BEGUN:
            await asyncio.sleep(60)
        yield TriggerEvent(True)  # type: ignore[no-untyped-call]


class Waiter(BaseOperator):
    """Is deferred until a task has begun."""

    def __init__(self, *, until: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.until = until

    def execute(self, context: Any) -> None:  # noqa: ARG002
        self.defer(trigger=Until(self.until), method_name="goes_on")

    def goes_on(self, context: Any, event: Any) -> None:  # noqa: ARG002
        BEGUN.append(self.task_id)


def harbor(producer: str = PRODUCER, until: str = "late") -> DAG:
    """A producer, and beside a task that it lets wait for another one, of a lower priority."""
    BEGUN.clear()
    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        first = Noting(task_id=producer, priority_weight=20, weight_rule="absolute")
        waiter = Waiter(task_id="waiter", until=until, priority_weight=10, weight_rule="absolute")
        late = Noting(task_id="late", priority_weight=1, weight_rule="absolute")
        first >> [waiter, late]
    return dag


def test_a_task_that_waits_for_another_one_lets_it_run(cosmos_run_dag: RunDag) -> None:
    outcome = cosmos_run_dag(harbor())

    assert BEGUN == [PRODUCER, "late", "waiter"]
    assert outcome.tasks["waiter"].tries == 1


def test_a_task_that_waits_for_ever_fails(cosmos_run_dag: RunDag) -> None:
    outcome = cosmos_run_dag(harbor(until="nobody"), raise_on_failure=False)

    assert (outcome.state, outcome.tasks["waiter"].state) == ("failed", "failed")
    assert isinstance(outcome.tasks["waiter"].exception, WaitsForEver)
    assert "waiter waits, and no task of the run is left that could end that" in str(outcome)


def globals_of(dag: DAG) -> dict[str, Any]:
    found: dict[str, Any] = inspect.unwrap(type(dag).test).__globals__
    return found


def test_other_dags_stay_as_they_are() -> None:
    dag = harbor(producer="other")
    before = {**globals_of(dag)}

    with in_turns(dag, stuck=print):
        assert globals_of(dag) == before


def test_airflow_is_as_before_after_the_block() -> None:
    dag = harbor()
    before = {**globals_of(dag)}

    with in_turns(dag, stuck=print):
        assert globals_of(dag)["_run_task"] != before["_run_task"]

    assert globals_of(dag) == before


@pytest.mark.parametrize(
    ("task_id", "expected"),
    [(PRODUCER, True), (f"port.harbor.{PRODUCER}", True), (f"{PRODUCER}_done", False), ("mart_run", False)],
)
def test_a_producer_is_known_by_its_id(task_id: str, expected: bool) -> None:
    assert is_producer(task_id) is expected
