"""Models are queries of BigQuery, sent by Airflow's own operator through Google's client library to a local server.

Run by ``test_uploads.py`` in the environment that has them.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cosmos_venv import DbtDag, DbtTaskGroup
from cosmos_venv.compat import DAG, AirflowException, AirflowFailException, EmptyOperator, TaskDeferred
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, InvocationMode, LoadMode, SeedRenderingBehavior, TestBehavior
from cosmos_venv.dbt.bigquery.statement import compiled_models
from pytest_cosmos_venv import BigQueryServer, DagOutcome, FakeVenv, RunDag, Variables

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
def server(
    cosmos_bigquery: BigQueryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cosmos_variables: Variables
) -> BigQueryServer:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", cosmos_bigquery.connection)
    for name, value in cosmos_bigquery.environ.items():
        monkeypatch.setenv(name, value)
    return cosmos_bigquery


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


@dataclass
class Sent:
    """A model whose query is sent without a run of its DAG."""

    task: Any
    ti: Ti

    @property
    def context(self) -> dict[str, Any]:
        return {"ti": self.ti, "task_instance": self.ti, "logical_date": START, "dag_run": None, "task": self.task}

    def start(self, name: str = "stg_orders", **changes: Any) -> str:
        unique_id = f"model.shop.{name}"
        (model,) = compiled_models(MANIFEST.read_bytes(), [unique_id], full_refresh=changes.pop("full_refresh", False))
        return str(self.task._start().start(msgspec.structs.replace(model, **changes), self.context))

    def defer(self) -> None:
        with pytest.raises(TaskDeferred):
            self.start()

    def go_on(self) -> str:
        """What the task does when the trigger says that something went wrong."""
        (model,) = compiled_models(MANIFEST.read_bytes(), ["model.shop.stg_orders"], full_refresh=False)
        return str(self.task._start().ended(self.ti.xcoms["bigquery_job"], self.context, lambda: model))


@pytest.fixture
def sent(made: Any) -> Any:
    def make(**given: Any) -> Sent:
        return Sent(made("stg_orders", **given).get_task("stg_orders_run"), Ti())

    return make


def states(outcome: DagOutcome) -> dict[str, str]:
    return {task_id.removesuffix("_run"): each.state for task_id, each in outcome.tasks.items()}


def test_each_model_is_one_query_of_what_dbt_would_send_and_its_task_runs_no_dbt(
    made: Any, dbt: FakeVenv, server: BigQueryServer, cosmos_run_dag: RunDag
) -> None:
    recorded = json.loads((DATA / "statements.json").read_text())
    server.when("`orders`", seconds=0.5)

    outcome = cosmos_run_dag(made())

    assert outcome.succeeded, outcome
    assert {*states(outcome)} == {SETUP, TEARDOWN, "raw_orders_seed", "eph_paid", *MODELS}
    assert [call.command for call in dbt.calls] == ["compile", "seed"]
    assert {"marts.orders", "marts.stg_orders", "marts_docs.shown"} <= {*server.tables}
    assert len(server.jobs) == len(MODELS)
    sent = {job.labels["dbt-node"]: "".join(job.sql.split()) for job in server.jobs}
    assert sent == {each.replace(".", "-"): "".join(sql.split()) for each, sql in recorded.items()}
    assert "DEFERRED" in outcome.tasks["orders_run"].log
    assert "DEFERRED" not in outcome.tasks["by_day_run"].log
    assert outcome.tasks["orders_run"].assets[0].uri == "bigquery/test-project/marts/orders"


def test_jobs_have_labels_and_the_limits_of_the_profile(sent: Any, server: BigQueryServer) -> None:
    limits = {
        "maximum_bytes_billed": 1000,
        "priority": "batch",
        "job_execution_timeout_seconds": 60,
        "execution_project": "payer",
    }

    sent(profile=limits, job_labels={"team": "x y"}).start()

    (job,) = server.jobs
    assert job.configuration["query"]["maximumBytesBilled"] == "1000"
    assert job.configuration["query"]["priority"] == "BATCH"
    assert job.configuration["jobTimeoutMs"] == "60000"
    assert job.project == "payer"
    assert job.labels == {
        "airflow-dag": "shop",
        "airflow-task": "stg_orders_run",
        "airflow-run": "manual-one",
        "dbt-node": "model-shop-stg_orders",
        "team": "x-y",
    }


def test_the_timeout_and_reservation_of_a_model_go_over_the_profile(sent: Any, server: BigQueryServer) -> None:
    sent(profile={"job_execution_timeout_seconds": 60}).start(job_timeout=5, reservation="projects/p/r")

    assert server.jobs[0].configuration["jobTimeoutMs"] == "5000"
    assert server.jobs[0].configuration["reservation"] == "projects/p/r"


@pytest.mark.parametrize("is_deferred", [True, False])
def test_an_error_of_the_query_is_not_tried_again(is_deferred: bool, sent: Any, server: BigQueryServer) -> None:
    query, rule = sent(), server.when("`stg_orders`", error="Unrecognized name: stae at [3:1]", is_held=is_deferred)
    if is_deferred:
        query.defer()
        server.jobs[0].release()

    with pytest.raises(AirflowFailException, match=r"model\.shop\.stg_orders: invalidQuery: Unrecognized name: stae"):
        query.go_on() if is_deferred else query.start()

    assert rule.error
    assert len(server.jobs) == 1


@pytest.mark.parametrize("reason", ["backendError", "rateLimitExceeded"])
@pytest.mark.parametrize(("job_retries", "jobs"), [(None, 2), (0, 1), (3, 4)])
def test_an_error_that_passes_is_tried_again_as_the_profile_says_and_then_by_airflow(
    reason: str, job_retries: int | None, jobs: int, sent: Any, server: BigQueryServer
) -> None:
    server.when("`stg_orders`", error="later", reason=reason)

    with pytest.raises(AirflowException, match=f"{reason}: later") as failed:
        sent(profile={} if job_retries is None else {"job_retries": job_retries}).start()

    assert not isinstance(failed.value, AirflowFailException)
    assert len(server.jobs) == jobs


def test_a_query_that_is_sent_again_is_waited_for(sent: Any, server: BigQueryServer) -> None:
    query = sent()
    server.when("`stg_orders`", is_held=True)
    server.when("`stg_orders`", is_held=True, error="later", reason="backendError", times=1)
    query.defer()
    server.jobs[0].release()

    with pytest.raises(TaskDeferred) as deferred:
        query.go_on()

    assert deferred.value.trigger.job_id == server.jobs[1].job_id == query.ti.xcoms["bigquery_job"]["job_id"]


def test_a_request_that_fails_for_a_moment_is_repeated(sent: Any, server: BigQueryServer) -> None:
    server.refuse("GET .*/tables/")
    server.refuse("POST .*/jobs$", times=2)

    sent().start()

    assert len(server.jobs) == 1


@pytest.mark.parametrize("path", ["GET .*/tables/", "POST .*/jobs$"])
def test_what_is_not_allowed_is_not_tried_again(path: str, sent: Any, server: BigQueryServer) -> None:
    server.refuse(path, reason="accessDenied")

    with pytest.raises(AirflowFailException, match=r"model\.shop\.stg_orders: Forbidden"):
        sent().start()


def test_a_triggerer_that_cannot_ask_does_not_fail_a_query_that_runs(sent: Any, server: BigQueryServer) -> None:
    query = sent()
    server.when("`stg_orders`", is_held=True)
    query.defer()

    with pytest.raises(TaskDeferred) as deferred:
        query.go_on()
    server.jobs[0].release()

    assert deferred.value.trigger.job_id == server.jobs[0].job_id
    assert query.go_on() == server.jobs[0].job_id
    assert len(server.jobs) == 1


def test_a_limit_on_billed_bytes_ends_the_task_at_once(sent: Any, server: BigQueryServer) -> None:
    server.when("`stg_orders`", billed=2000)

    with pytest.raises(AirflowFailException, match="bytesBilledLimitExceeded"):
        sent(profile={"maximum_bytes_billed": 1000}).start()


def test_what_bigquery_does_not_replace_is_dropped_in_the_same_job(sent: Any, server: BigQueryServer) -> None:
    server.add_table("marts.by_day", timePartitioning={"type": "DAY", "field": "day"}, clustering={"fields": ["id"]})
    server.add_table("marts.by_hour", timePartitioning={"type": "DAY", "field": "loaded"})
    server.add_table("marts.with_header", type="VIEW")

    for name in ("by_day", "by_hour", "with_header"):
        sent().start(name)

    by_day, by_hour, with_header = (job.sql for job in server.jobs)
    assert by_day.startswith("create or replace table")
    assert by_hour.startswith("drop table if exists `test-project`.`marts`.`by_hour`;\ncreate or replace table")
    assert with_header.startswith("drop view if exists `test-project`.`marts`.`with_header`;")


def test_a_table_becomes_a_view_by_a_full_refresh_alone(sent: Any, server: BigQueryServer) -> None:
    server.add_table("marts.stg_orders")

    with pytest.raises(AirflowFailException, match="run the DAG with full_refresh"):
        sent().start()
    sent().start(full_refresh=True)

    assert [job.sql.startswith("drop table if exists") for job in server.jobs] == [True]


def test_a_dataset_that_is_missing_is_made_where_the_profile_says(sent: Any, server: BigQueryServer) -> None:
    sent(profile={"location": "EU"}).start()

    assert server.datasets["marts"]["location"] == "EU"
    assert server.jobs[0].location == "EU"


def test_sql_goes_by_files_where_the_setting_says_so_and_the_teardown_deletes_them(
    made: Any, server: BigQueryServer, cosmos_run_dag: RunDag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__UPLOAD_SQL_TO_XCOM", "False")
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", str(tmp_path / "shared"))
    other = tmp_path / "shared" / "shop" / "one" / "compiled" / "mine.sql"
    other.parent.mkdir(parents=True)
    other.write_text("select 1")

    outcome = cosmos_run_dag(made("stg_orders", "orders"), run_id="one")

    assert outcome.succeeded, outcome
    assert not outcome.tasks[SETUP].xcoms
    assert "Deleted the SQL of 2 models" in outcome.tasks[TEARDOWN].log
    assert [path for path in (tmp_path / "shared").rglob("*") if path.is_file()] == [other]
    assert not (tmp_path / "shared" / "shop" / "one" / "run").exists()


def test_in_a_group_what_comes_behind_waits_for_the_models(
    dbt: FakeVenv, server: BigQueryServer, tmp_path: Path, cosmos_run_dag: RunDag
) -> None:
    with DAG("outer", schedule=None, start_date=START) as dag:
        group = DbtTaskGroup("shop", **arguments(dbt, server, tmp_path, select=("stg_orders",)))
        group >> EmptyOperator(task_id="after")
    server.when("`stg_orders`", error="no", seconds=0.2)

    outcome = cosmos_run_dag(dag, raise_on_failure=False)

    assert outcome.states == {
        f"shop.{SETUP}": "success",
        "shop.stg_orders_run": "failed",
        f"shop.{TEARDOWN}": "success",
        "after": "upstream_failed",
    }
    assert len(server.jobs) == 1


def test_tests_and_seeds_run_dbt_and_a_seed_that_is_loaded_is_left_alone(
    made: Any, dbt: FakeVenv, cosmos_run_dag: RunDag
) -> None:
    render = {
        "test_behavior": TestBehavior.AFTER_EACH,
        "seed_rendering_behavior": SeedRenderingBehavior.WHEN_SEED_CHANGES,
    }
    dag = made("raw_orders", "orders", render=render)

    outcomes = [cosmos_run_dag(dag, run_id=name) for name in ("one", "two")]

    assert all(outcome.succeeded for outcome in outcomes)
    assert [call.command for call in dbt.calls] == ["compile", "seed", "test", "compile", "test"]


def test_a_deferred_task_that_is_killed_cancels_its_query(
    sent: Any, server: BigQueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.when(".", is_held=True)
    with pytest.raises(TaskDeferred) as deferred:
        sent().start()
    # Airflow's trigger cancels by another library of Google's, which puts the scheme before it itself.
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.address)

    asyncio.run(deferred.value.trigger.on_kill())

    assert server.jobs[0].is_cancelled


def test_a_task_that_is_killed_before_it_is_deferred_cancels_its_query(sent: Any, server: BigQueryServer) -> None:
    query = sent()
    server.when(".", is_held=True)
    query.defer()

    query.task.on_kill()

    assert server.jobs[0].is_cancelled
