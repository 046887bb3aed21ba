"""The tasks around the queries of ExecutionMode.AIRFLOW_ASYNC, on the fake dbt. The queries: tests/clouds."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import DAG, AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.constants import InvocationMode
from cosmos_venv.operators.airflow_async import DbtRunAirflowAsyncOperator, SetupAsyncOperator, TeardownAsyncOperator
from cosmos_venv.operators.run.dbt_run import DbtCommand, DbtRun
from pytest_cosmos_venv import CosmosAirflow, FakeVenv

DATA = Path(__file__).parent.parent / "data" / "bigquery"
MODEL = "model.shop.stg_orders"
SETUP = "dbt_setup_async"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeVenv:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    fake = cosmos_fake_venv(dbt_version="1.11.0")
    fake.script("compile", artifacts={"manifest.json": json.loads((DATA / "manifest.json").read_text())})
    output = {"type": "duckdb", "path": str(tmp_path / "db.duckdb")}
    (tmp_path / "profiles.yml").write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": output}}}))
    return fake


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that all workers see."""
    monkeypatch.setenv("AIRFLOW__COSMOS__UPLOAD_SQL_TO_XCOM", "False")
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", str(tmp_path / "shared"))
    return tmp_path / "shared"


def setup(
    dbt: FakeVenv, tmp_path: Path, *models: str, cls: type[SetupAsyncOperator] = SetupAsyncOperator, **more: Any
) -> SetupAsyncOperator:
    return cls(
        task_id=SETUP,
        project_dir=DATA / "project",
        profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=tmp_path / "profiles.yml"),
        dbt_executable_path=dbt.dbt,
        invocation_mode=InvocationMode.SUBPROCESS,
        compiled_nodes=list(models),
        **more,
    )


def test_sql_is_kept_in_an_xcom_for_each_model(dbt: FakeVenv, tmp_path: Path, cosmos_airflow: CosmosAirflow) -> None:
    done = cosmos_airflow.run(setup(dbt, tmp_path, MODEL, "model.shop.orders", select="+orders"))

    assert {*done.xcoms} >= {MODEL, "model.shop.orders"}
    model = json.loads(zlib.decompress(base64.b64decode(done.xcoms[MODEL])))
    assert model["sql"].startswith("create or replace view `test-project`.`marts`.`stg_orders`")
    assert "--select +orders" in " ".join(dbt.calls[0].arguments)
    assert "Stored the SQL of 2 models" in done.log


def test_hooks_of_the_project_are_named_since_no_model_runs_them(
    dbt: FakeVenv, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    manifest = json.loads((DATA / "manifest.json").read_text())
    manifest["nodes"]["operation.shop.shop-on-run-start-0"] = {"resource_type": "operation"}
    dbt.script("compile", artifacts={"manifest.json": manifest})

    done = cosmos_airflow.run(setup(dbt, tmp_path, MODEL))

    assert "No model runs these hooks of the project: operation.shop.shop-on-run-start-0." in done.log


def test_without_models_no_dbt_is_started(dbt: FakeVenv, tmp_path: Path, cosmos_airflow: CosmosAirflow) -> None:
    done = cosmos_airflow.run(setup(dbt, tmp_path))

    assert done.state == "success"
    assert dbt.calls == []


def test_files_without_a_place_are_refused_before_dbt_runs(
    dbt: FakeVenv, tmp_path: Path, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__UPLOAD_SQL_TO_XCOM", "False")

    done = cosmos_airflow.run(setup(dbt, tmp_path, MODEL), raise_on_failure=False)

    assert "upload_sql_to_xcom = False, and remote_target_path is not set" in str(done.exception)
    assert dbt.calls == []


def test_a_model_that_dbt_has_not_compiled_fails_the_task(
    dbt: FakeVenv, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    done = cosmos_airflow.run(setup(dbt, tmp_path, "model.shop.none"), raise_on_failure=False)

    assert done.state == "failed"
    assert "no SQL of model.shop.none" in str(done.exception)


def test_the_files_of_a_run_go_with_its_teardown_and_nothing_else(
    dbt: FakeVenv, tmp_path: Path, shared: Path, cosmos_airflow: CosmosAirflow
) -> None:
    other = shared / "shop" / "one" / "run" / "mine.txt"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    with DAG("shop", schedule=None, start_date=START) as dag:
        setup(dbt, tmp_path, MODEL) >> TeardownAsyncOperator(task_id="dbt_teardown_async", producer_task_id=SETUP)

    outcome = cosmos_airflow.run(dag, run_id="one")

    assert outcome.succeeded, outcome
    assert not outcome.tasks[SETUP].xcoms
    assert "Deleted the SQL of 1 models" in outcome.tasks["dbt_teardown_async"].log
    assert [path for path in shared.rglob("*") if path.is_file()] == [other]


class FailsInTheEnd(SetupAsyncOperator):
    def _after_success(self, run: DbtRun, command: DbtCommand) -> None:
        super()._after_success(run, command)
        raise AirflowException("the storage is full")


def test_a_setup_task_that_fails_leaves_no_files(
    dbt: FakeVenv, tmp_path: Path, shared: Path, cosmos_airflow: CosmosAirflow
) -> None:
    done = cosmos_airflow.run(setup(dbt, tmp_path, MODEL, cls=FailsInTheEnd), raise_on_failure=False)

    assert "Stored the SQL of 1 models" in done.log
    assert "the storage is full" in str(done.exception)
    assert not [path for path in shared.rglob("*") if path.is_file()]


@pytest.mark.parametrize("place", ["xcom", "file"])
def test_a_model_without_sql_says_which_task_to_clear(
    place: str, dbt: FakeVenv, tmp_path: Path, cosmos_airflow: CosmosAirflow, request: pytest.FixtureRequest
) -> None:
    if place == "file":
        request.getfixturevalue("shared")
    task = DbtRunAirflowAsyncOperator(
        task_id="stg_orders_run",
        model_unique_id=MODEL,
        profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=tmp_path / "profiles.yml"),
    )

    done = cosmos_airflow.run(task, raise_on_failure=False)

    assert f"There is no SQL of {MODEL} in this run. Clear the task {SETUP} too" in str(done.exception)
    assert dbt.calls == []
