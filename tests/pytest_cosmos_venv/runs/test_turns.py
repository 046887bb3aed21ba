"""Tasks of a DAG with a producer take turns in ``dag.test()``; tasks of other DAGs do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from cosmos_venv.compat import DAG, BaseOperator
from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.runs.turns import PRODUCER, WaitsForEver

BEGUN: list[str] = []
TURNS: list[str] = []


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
    """Is deferred until a task has begun, and watches the producer, as it says."""

    def __init__(self, *, until: str, producer_task_id: str = PRODUCER, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.until = until
        self.producer_task_id = producer_task_id

    def execute(self, context: Any) -> None:  # noqa: ARG002
        TURNS.append(self.task_id)
        self.defer(trigger=Until(self.until), method_name="goes_on")

    def goes_on(self, context: Any, event: Any) -> None:  # noqa: ARG002
        BEGUN.append(self.task_id)


class Sleeping(BaseTrigger):
    """Looks several times, with a pause before each look, and waits for no other task."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Sleeping", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        for _ in range(5):
            await asyncio.sleep(0.001)
        yield TriggerEvent(True)  # type: ignore[no-untyped-call]


class Sleeper(BaseOperator):
    """Is deferred for a while, as a sensor of a file is."""

    def execute(self, context: Any) -> None:  # noqa: ARG002
        BEGUN.append(self.task_id)
        self.defer(trigger=Sleeping(), method_name="goes_on")  # type: ignore[no-untyped-call]

    def goes_on(self, context: Any, event: Any) -> None:  # noqa: ARG002
        BEGUN.append(f"{self.task_id} goes on")


def harbor(producer: str = PRODUCER, until: str = "late") -> DAG:
    """A producer, and beside a task that it lets wait for another one, of a lower priority."""
    BEGUN.clear()
    TURNS.clear()
    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        first = Noting(task_id=producer, priority_weight=20, weight_rule="absolute")
        waiter = Waiter(task_id="waiter", until=until, priority_weight=10, weight_rule="absolute")
        late = Noting(task_id="late", priority_weight=1, weight_rule="absolute")
        first >> [waiter, late]
    return dag


def test_a_task_that_waits_for_another_one_lets_it_run(cosmos_airflow: CosmosAirflow) -> None:
    outcome = cosmos_airflow.run(harbor())

    assert BEGUN == [PRODUCER, "late", "waiter"]
    assert outcome.tasks["waiter"].tries == 1


def test_a_task_that_waits_for_ever_fails(cosmos_airflow: CosmosAirflow) -> None:
    outcome = cosmos_airflow.run(harbor(until="nobody"), raise_on_failure=False)

    assert (outcome.state, outcome.tasks["waiter"].state) == ("failed", "failed")
    assert isinstance(outcome.tasks["waiter"].exception, WaitsForEver)
    assert "waiter waits, and no task of the run is left that could end that" in str(outcome)


def test_a_deferred_task_that_watches_no_producer_is_executed_once(cosmos_airflow: CosmosAirflow) -> None:
    dag = harbor()
    with dag:
        Sleeper(task_id="before") >> dag.get_task(PRODUCER)
        [dag.get_task("waiter"), dag.get_task("late")] >> Sleeper(task_id="after")

    outcome = cosmos_airflow.run(dag)

    assert BEGUN == ["before", "before goes on", PRODUCER, "late", "waiter", "after", "after goes on"]
    assert outcome.state == "success"
