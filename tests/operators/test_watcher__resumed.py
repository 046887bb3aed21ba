"""A task that watches nodes, when its trigger hands it back to a worker."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import DAG, EmptyOperator
from cosmos_venv.operators.watcher import DbtRunWatcherOperator
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.kit import operator_arguments

MART = "model.harbor.mart"
FAILED = {"action": "fail", "reason": f"{MART}: error.", "told": {}, "try_number": 1, "kinds": [], "xcoms": {}}


class Resumed(DbtRunWatcherOperator):
    """Begins each try with the event that ended the first one, as Airflow 3.0.6 lets a deferred task."""

    def execute(self, context: Any, **_: Any) -> Any:
        return self.execute_complete(context, FAILED)


@pytest.mark.long
def test_it_fails_with_the_event_of_its_try_and_a_retry_that_is_given_this_event_begins_anew(
    dbt_project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    arguments = {"dbt_executable_path": cosmos_fake_venv.dbt, "deferrable": False, "retries": 1}
    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        producer = EmptyOperator(task_id="dbt_producer_watcher")
        producer >> Resumed(**operator_arguments(dbt_project, node_ids=[MART], select="mart", **arguments))

    done = cosmos_airflow.run(dag).tasks["task"]

    assert (done.state, done.tries) == ("success", 2), done.log
    assert f"{MART}: error." in done.log
    assert [call.command for call in cosmos_fake_venv.calls] == ["run"], "the second try has dbt run alone"
