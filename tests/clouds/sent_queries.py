"""Models whose queries Airflow's own operator sends to a local server: fixtures of the files beside this."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cosmos_venv import DbtDag
from cosmos_venv.compat import (
    TaskDeferred,
)
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior
from cosmos_venv.dbt.bigquery.statement import CompiledModel, compiled_models
from cosmos_venv.operators.queries.model_query import ModelQuery
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.bigquery_server import BigQueryServer

DATA = Path(__file__).parent.parent / "data" / "bigquery"
MANIFEST = DATA / "manifest.json"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SETUP, TEARDOWN = "dbt_setup_async", "dbt_teardown_async"
MODELS = ["by_day", "by_hour", "by_range", "documented", "orders", "stg_orders", "with_header"]
QUICK = {"poll_interval": 0.05}


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """A dbt that compiles the project as dbt-bigquery did, and is nowhere else."""
    fake = cosmos_fake_venv(dbt_version="1.11.0")
    fake.script("compile", artifacts={"manifest.json": json.loads(MANIFEST.read_text())})
    return fake


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cosmos_airflow: CosmosAirflow) -> Iterator[BigQueryServer]:
    assert not cosmos_airflow.variables.values
    bigquery = BigQueryServer()
    bigquery.start()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", bigquery.connection)
    for name, value in bigquery.environ.items():
        monkeypatch.setenv(name, value)
    yield bigquery
    bigquery.close()


def arguments(
    dbt: FakeVenv, server: BigQueryServer, tmp_path: Path, *, select: tuple[str, ...] = (), **operator_args: Any
) -> dict[str, Any]:
    profile = {"shop": {"target": "dev", "outputs": {"dev": {**server.profile(), **operator_args.pop("profile", {})}}}}
    (tmp_path / "profiles.yml").write_text(json.dumps(profile))
    render = {"test_behavior": TestBehavior.NONE, **operator_args.pop("render", {})}
    return {
        "project_config": ProjectConfig(DATA / "project", manifest_path=MANIFEST, install_dbt_deps=False),
        "profile_config": ProfileConfig("shop", "dev", profiles_yml_filepath=tmp_path / "profiles.yml"),
        "execution_config": ExecutionConfig(
            ExecutionMode.AIRFLOW_ASYNC,
            dbt_executable_path=dbt.dbt,
            invocation_mode=InvocationMode.SUBPROCESS,
            async_py_requirements=[],
        ),
        "render_config": RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=list(select), **render),
        "operator_args": {**QUICK, **operator_args},
    }


@pytest.fixture
def made(dbt: FakeVenv, server: BigQueryServer, tmp_path: Path) -> Any:
    def make(*select: str, retries: int = 0, **more: Any) -> DbtDag:
        given = arguments(dbt, server, tmp_path, select=select, retries=retries, **more)
        return DbtDag(dag_id="shop", schedule=None, start_date=START, **given)

    return make


class Ti:
    """What a query needs of a running task."""

    dag_id, task_id, run_id, try_number, map_index = "shop", "stg_orders_run", "Manual.One", 1, -1

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)


def model(name: str, *, full_refresh: bool = False, **changes: Any) -> CompiledModel:
    (found,) = compiled_models(MANIFEST.read_bytes(), [f"model.shop.{name}"], full_refresh=full_refresh)
    return msgspec.structs.replace(found, **changes)


@dataclass
class Sent:
    """A model whose query is sent without a run of its DAG."""

    task: Any
    ti: Ti

    @property
    def context(self) -> dict[str, Any]:
        return {"ti": self.ti, "task_instance": self.ti, "logical_date": START, "dag_run": None, "task": self.task}

    @property
    def query(self) -> ModelQuery:
        """As each process of the task has it."""
        return ModelQuery(self.task, self.context, self.ti.xcoms.get("bigquery_job"))

    def start(self, name: str = "stg_orders", **changes: Any) -> str:
        return self.query.start(model(name, **changes))

    def defer(self) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferred:
            self.start()
        return deferred.value

    def go_on(self) -> str:
        """What the task does when the trigger says that something went wrong."""
        return self.query.ended(self.ti.xcoms["bigquery_job"], "said the trigger", lambda: model("stg_orders"))


@pytest.fixture
def sent(made: Any) -> Any:
    def make(**given: Any) -> Sent:
        return Sent(made("stg_orders", **given).get_task("stg_orders_run"), Ti())

    return make
