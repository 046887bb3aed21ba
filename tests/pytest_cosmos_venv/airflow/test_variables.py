"""Variables are in memory for all code of the process, and fail as Airflow's own do. On Airflow 2 and 3."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from typing import Any

import airflow
import pytest
from airflow.models import Variable

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.errors import ToolkitMisuse

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import Variable as TaskVariable
except ImportError:  # Airflow 2 has one only
    from airflow.models import Variable as TaskVariable
    from airflow.operators.bash import BashOperator  # type: ignore[import-not-found, no-redef]
    from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]

pytestmark = pytest.mark.filterwarnings("ignore:.*from `airflow.models` is deprecated:DeprecationWarning")

IS_AIRFLOW_2 = airflow.__version__.startswith("2.")
WAYS_IN = [pytest.param(Variable, id="models"), pytest.param(TaskVariable, id="sdk")]


def in_test(function: Callable[[], Any], cosmos_airflow: CosmosAirflow) -> Any:
    del cosmos_airflow
    return function()


def in_task(function: Callable[[], Any], cosmos_airflow: CosmosAirflow) -> Any:
    task = cosmos_airflow.run(PythonOperator(task_id="call", python_callable=function))
    if task.exception is not None:
        raise task.exception
    return task.returned


Where = Callable[[Callable[[], Any], CosmosAirflow], Any]
PLACES = [pytest.param(in_test, id="test"), pytest.param(in_task, id="task")]


@pytest.mark.parametrize("variable", WAYS_IN)
@pytest.mark.parametrize("where", PLACES)
def test_variables_are_read_set_and_deleted_in_memory(
    variable: Any,
    where: Where,
    cosmos_airflow: CosmosAirflow,
) -> None:
    cosmos_airflow.variables.put("pier", "north")

    def use() -> list[Any]:
        seen = [variable.get("pier")]
        variable.set("ships", [1, 2], serialize_json=True)
        seen.append(variable.get("ships", deserialize_json=True))
        variable.set("pier", "south")
        variable.delete("ships")
        return seen

    assert where(use, cosmos_airflow) == ["north", [1, 2]]
    assert cosmos_airflow.variables.values == {"pier": "south"}
    assert [(write.action, write.key) for write in cosmos_airflow.variables.writes] == [
        ("set", "ships"),
        ("set", "pier"),
        ("delete", "ships"),
    ]
    assert json.loads(cosmos_airflow.variables.writes[0].value or "") == [1, 2]
    with closing(sqlite3.connect(cosmos_airflow.home.database)) as connection:
        assert connection.execute("select count(*) from variable").fetchone() == (0,)


@pytest.mark.parametrize("where", PLACES)
def test_a_missing_variable_is_missing_as_ever(where: Where, cosmos_airflow: CosmosAirflow) -> None:
    assert not cosmos_airflow.variables.values
    assert where(lambda: Variable.get("nothing", default_var="else"), cosmos_airflow) == "else"
    with pytest.raises(Exception, match="nothing"):
        where(lambda: TaskVariable.get("nothing"), cosmos_airflow)


def test_templates_see_them(cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.variables.put("pier", "north")
    cosmos_airflow.variables.put("ships", '{"n": 3}')

    task = cosmos_airflow.run(
        BashOperator(task_id="say", bash_command="echo {{ var.value.pier }} {{ var.json.ships.n }}")
    )

    assert task.returned == "north 3"


@pytest.mark.parametrize("where", PLACES)
def test_in_an_outage_writing_fails_where_airflow_fails(where: Where, cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.variables.put("pier", "north")
    failure = "OperationalError" if IS_AIRFLOW_2 else "AirflowRuntimeError"

    with cosmos_airflow.variables.outage():
        for change in (lambda: Variable.set("pier", "south"), lambda: Variable.delete("pier")):
            with pytest.raises(Exception, match=r"cosmos_airflow.variables.outage\(\)") as raised:
                where(change, cosmos_airflow)
            assert type(raised.value).__name__ == failure
        assert where(lambda: Variable.get("pier", default_var="unknown"), cosmos_airflow) == "unknown"

    assert Variable.get("pier") == "north"
    assert cosmos_airflow.variables.writes == ()


def test_reads_and_writes_can_fail_apart(cosmos_airflow: CosmosAirflow) -> None:
    with cosmos_airflow.variables.outage(reads=False):
        cosmos_airflow.variables.put("pier", "north")
        assert Variable.get("pier") == "north"
        with pytest.raises(Exception, match="outage"):
            Variable.set("pier", "south")
    with cosmos_airflow.variables.outage(writes=False):
        Variable.set("pier", "south")
        assert Variable.get("pier", default_var=None) is None
    assert Variable.get("pier") == "south"


@pytest.mark.skipif(
    IS_AIRFLOW_2 or not hasattr(import_module("airflow.sdk.exceptions"), "AirflowSecretsBackendAccessDenied"),
    reason="this Airflow takes each failing read for a missing Variable",
)
@pytest.mark.parametrize("where", PLACES)
def test_a_read_that_is_denied_fails_where_airflow_hands_that_on(where: Where, cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.variables.put("pier", "north")

    with cosmos_airflow.variables.outage(writes=False, denied=True), pytest.raises(PermissionError, match="pier"):
        where(lambda: Variable.get("pier", default_var="unknown"), cosmos_airflow)

    assert Variable.get("pier") == "north"


def test_the_test_reads_and_takes_away_too(cosmos_airflow: CosmosAirflow) -> None:
    cosmos_airflow.variables.put("pier", "north")
    assert cosmos_airflow.variables.get("pier") == "north"

    cosmos_airflow.variables.remove("pier")

    assert cosmos_airflow.variables.get("pier") is None
    assert cosmos_airflow.variables.get("pier", "unknown") == "unknown"
    assert cosmos_airflow.variables.writes == ()
    with pytest.raises(ToolkitMisuse, match=r"remove\('pier'\): there is no Variable of this key; there are: none"):
        cosmos_airflow.variables.remove("pier")
