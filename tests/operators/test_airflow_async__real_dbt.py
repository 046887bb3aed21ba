"""The task of ExecutionMode.AIRFLOW_ASYNC that compiles, with each release of dbt, on the worker and in an environment.

dbt 2 compiles for BigQuery without a driver and without a connection. dbt 1 does so for DuckDB here: dbt-bigquery comes
with half a gigabyte of Google's libraries, and what it makes of the project stands recorded in tests/data/bigquery.
"""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.airflow_async import SetupAsyncOperator, SetupAsyncVirtualenvOperator
from pytest_cosmos_venv import CosmosAirflow, TaskOutcome
from tests.engines import DBT_1, DBT_2, EACH_ENGINE, Engine
from tests.installed import environment_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(280), pytest.mark.usefixtures("no_other_servers")]

DATA = Path(__file__).parent.parent / "data" / "bigquery"
RECORDED: dict[str, str] = json.loads((DATA / "statements.json").read_text())
NOT_IN_DBT_2 = "model.shop.by_range"
# dbt 2 puts a SELECT around one that reads an ephemeral model.
WRAPPED = "--EPHEMERAL-SELECT-WRAPPER-STARTselect*from({}--EPHEMERAL-SELECT-WRAPPER-END)".format
READS_EPHEMERAL = "select*from__dbt__cte__eph_paid"
MODELS = [each for each in RECORDED if each != NOT_IN_DBT_2]
BIGQUERY = {"type": "bigquery", "method": "oauth", "project": "test-project", "dataset": "marts"}


def arguments(folder: Path, engine: Engine, *, compiled: list[str]) -> dict[str, Any]:
    """Of the task that compiles a copy of the project.

    :param compiled: the models whose SQL is stored.
    """
    project = shutil.copytree(DATA / "project", folder / "project")
    if engine.is_native and NOT_IN_DBT_2 not in compiled:
        (project / "models" / "by_range.sql").unlink()
    output = BIGQUERY if engine.is_native else {"type": "duckdb", "path": ":memory:", "schema": "marts"}
    profiles = folder / "profiles.yml"
    profiles.write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": output}}}))
    return {
        "task_id": "dbt_setup_async",
        "project_dir": project,
        "profile_config": ProfileConfig("shop", "dev", profiles_yml_filepath=profiles),
        "compiled_nodes": compiled,
        "install_deps": False,
    }


def statements(done: TaskOutcome) -> dict[str, str]:
    """The statements that the task has stored, without white space."""
    stored = {
        key: json.loads(zlib.decompress(base64.b64decode(value)))["sql"]
        for key, value in done.xcoms.items()
        if key.startswith("model.")
    }
    return {key: "".join(sql.split()) for key, sql in stored.items()}


def as_of(engine: Engine, statement: str) -> str:
    """A recorded statement as a release writes it: names are quoted as the warehouse does it."""
    text = "".join(statement.split())
    if engine.is_native:
        return text.replace(READS_EPHEMERAL, WRAPPED(READS_EPHEMERAL))
    return text.replace("`test-project`", '"memory"').replace("`", '"')


@pytest.mark.parametrize("engine", EACH_ENGINE)
def test_models_are_compiled_in_a_managed_environment(
    engine: Engine, kept_directory: Path, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    engine.require()
    given = arguments(tmp_path, engine, compiled=MODELS)

    done = cosmos_airflow.run(SetupAsyncVirtualenvOperator(**given, **engine.arguments, virtualenv_dir=kept_directory))

    assert statements(done) == {name: as_of(engine, RECORDED[name]) for name in MODELS}


@pytest.mark.parametrize(
    ("engine", "release"),
    [
        pytest.param(DBT_1, "dbt111", id="1.11"),
        pytest.param(DBT_2, "dbt2", id="2.0"),
    ],
)
def test_models_are_compiled_by_a_dbt_that_is_there(
    engine: Engine, release: str, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    given = arguments(tmp_path, engine, compiled=["model.shop.stg_orders"])

    done = cosmos_airflow.run(
        SetupAsyncOperator(**given, dbt_executable_path=environment_of(release) / "bin" / "dbt", select="stg_orders")
    )

    name = "model.shop.stg_orders"
    assert statements(done) == {name: as_of(engine, RECORDED[name])}


def test_dbt_2_says_what_it_does_not_know(tmp_path: Path, cosmos_airflow: CosmosAirflow) -> None:
    given = arguments(tmp_path, DBT_2, compiled=[NOT_IN_DBT_2])

    done = cosmos_airflow.run(
        SetupAsyncOperator(**given, dbt_executable_path=environment_of("dbt2") / "bin" / "dbt"), raise_on_failure=False
    )

    assert done.state == "failed"
    assert 'Ignored unexpected key `"enable_change_history"`' in str(done.exception)
