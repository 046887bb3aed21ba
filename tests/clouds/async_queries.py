"""Models are queries of BigQuery, sent by Airflow's own operator through Google's client library to a local server.

Run by ``test_uploads.py`` in the environment that has them.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import task_group

from cosmos_venv import DbtDag, DbtTaskGroup
from cosmos_venv.compat import (
    DAG,
    AirflowException,
    AirflowFailException,
    EmptyOperator,
    TaskDeferred,
    object_storage_path,
)
from cosmos_venv.operators.airflow_async import DbtRunAirflowAsyncOperator
from cosmos_venv.operators.queries import sql_store
from cosmos_venv.operators.queries.query_trigger import DbtQueryTrigger
from pytest_cosmos_venv import CosmosAirflow, DagOutcome, FakeVenv
from tests.bigquery_server import BigQueryServer
from tests.clouds.pretended import BUCKET, S3, amazon
from tests.clouds.sent_queries import DATA, MANIFEST, MODELS, SETUP, START, TEARDOWN, Ti, arguments, model
from tests.installed import ROOT
from tests.whole.page_blocks import blocks_in

pytest_plugins = ["tests.clouds.sent_queries"]


PAGE = ROOT / "docs" / "how-to" / "dags" / "airflow-async.md"
ERRORS = {"backendError", "rateLimitExceeded"}


RESUMED = """
import json, sys, tempfile
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from tests.clouds.sent_queries import DATA, MANIFEST, START, Ti

def imported():
    return sorted({"airflow.providers.google.cloud", "google.cloud.bigquery", "pandas", "pyarrow"} & sys.modules.keys())

profiles = Path(tempfile.mkdtemp()) / "profiles.yml"
profiles.write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": json.loads(sys.argv[1])}}}))
dag = DbtDag(
    dag_id="shop",
    schedule=None,
    start_date=START,
    project_config=ProjectConfig(DATA / "project", manifest_path=MANIFEST, install_dbt_deps=False),
    profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=profiles),
    execution_config=ExecutionConfig("airflow_async", async_py_requirements=[]),
    render_config=RenderConfig(load_method="dbt_manifest", select=["stg_orders"], emit_datasets=False),
    operator_args={"should_store_compiled_sql": False},
)
dag_file, ti = imported(), Ti()
ti.xcoms["bigquery_job"] = {"job_id": "sent", "project_id": "p", "location": "US", "retried": 0, "table": "p.marts.t"}
event = {"status": "success", "message": "", "bytes_billed": 1, "slot_ms": 1}
job = dag.get_task("stg_orders_run").execute_complete({"ti": ti}, event)
print(json.dumps({"dag": dag_file, "resumed": imported(), "job": job}))
"""


class SetupTi(Ti):
    task_id = SETUP


async def events_of(trigger: Any) -> list[Any]:
    return [each async for each in trigger.run()]


def states(outcome: DagOutcome) -> dict[str, str]:
    return {task_id.removesuffix("_run"): each.state for task_id, each in outcome.tasks.items()}


def test_each_model_is_one_query_of_what_dbt_would_send_and_its_task_runs_no_dbt(
    made: Any, dbt: FakeVenv, server: BigQueryServer, cosmos_airflow: CosmosAirflow
) -> None:
    recorded = json.loads((DATA / "statements.json").read_text())
    server.when("`orders`", seconds=0.5)

    outcome = cosmos_airflow.run(made())

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


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"timeout_seconds": 60}, {"jobTimeoutMs": "60000"}),
        ({"job_execution_timeout_seconds": 0}, {}),
        ({"maximum_bytes_billed": "{{ env_var('NONE_SUCH', '0') }}"}, {}),
    ],
)
def test_fields_of_the_profile_count_as_they_do_for_dbt(
    profile: dict[str, Any], expected: dict[str, Any], sent: Any, server: BigQueryServer
) -> None:
    sent(profile=profile).start()

    found = server.jobs[0].configuration
    assert "maximumBytesBilled" not in found["query"]
    assert {name: each for name, each in found.items() if name not in ("query", "labels", "jobType")} == expected


def test_the_timeout_and_reservation_of_a_model_go_over_the_profile(sent: Any, server: BigQueryServer) -> None:
    profile = {"job_execution_timeout_seconds": 60, "reservation": "projects/p/default"}

    sent(profile=profile).start(job_timeout=5, reservation="projects/p/r")

    assert server.jobs[0].configuration["jobTimeoutMs"] == "5000"
    assert server.jobs[0].configuration["reservation"] == "projects/p/r"


def test_a_profile_may_ask_for_variables_of_the_project(sent: Any, server: BigQueryServer) -> None:
    query = sent(profile={"location": "{{ env_var('PLACE') }}"}, env={"PLACE": "{{ 'E' ~ 'U' }}"})
    query.task.render_template_fields(query.context)

    query.start()

    assert server.jobs[0].location == "EU"


@pytest.mark.parametrize("is_deferred", [True, False])
def test_an_error_of_the_query_is_not_tried_again(is_deferred: bool, sent: Any, server: BigQueryServer) -> None:
    query = sent()
    server.when("`stg_orders`", error="Unrecognized name: stae at [3:1]", is_held=is_deferred)
    if is_deferred:
        query.defer()
        server.jobs[0].release()

    with pytest.raises(AirflowFailException, match=r"model\.shop\.stg_orders: invalidQuery: Unrecognized name: stae"):
        query.go_on() if is_deferred else query.start()

    assert len(server.jobs) == 1


@pytest.mark.parametrize("reason", ["backendError", "rateLimitExceeded"])
@pytest.mark.parametrize(("profile", "jobs"), [({}, 2), ({"job_retries": 0}, 1), ({"retries": 0}, 1)])
def test_an_error_that_passes_is_tried_again_as_the_profile_says_and_then_by_airflow(
    reason: str, profile: dict[str, int], jobs: int, sent: Any, server: BigQueryServer
) -> None:
    server.when("`stg_orders`", error="later", reason=reason)

    with pytest.raises(AirflowException, match=f"{reason}: later") as failed:
        sent(profile=profile).start()

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

    waited_for = deferred.value.trigger.arguments["job_id"]
    assert waited_for == server.jobs[1].job_id == query.ti.xcoms["bigquery_job"]["job_id"]


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

    assert deferred.value.trigger.arguments["job_id"] == server.jobs[0].job_id
    assert query.go_on() == server.jobs[0].job_id
    assert len(server.jobs) == 1


def test_a_limit_on_billed_bytes_ends_the_task_at_once(sent: Any, server: BigQueryServer) -> None:
    server.when("`stg_orders`", billed=2000)

    with pytest.raises(AirflowFailException, match="bytesBilledLimitExceeded"):
        sent(profile={"maximum_bytes_billed": 1000}).start()


def test_what_bigquery_does_not_replace_is_dropped_as_dbt_drops_it(sent: Any, server: BigQueryServer) -> None:
    server.add_table("marts.by_day", timePartitioning={"type": "DAY", "field": "day"}, clustering={"fields": ["id"]})
    server.add_table("marts.by_hour", timePartitioning={"type": "DAY", "field": "loaded"})
    server.add_table("marts.orders", type="SNAPSHOT")
    server.add_table("marts.with_header", type="VIEW")

    for name in ("by_day", "by_hour", "orders", "with_header"):
        sent().start(name)

    dropped = [path.rpartition("/")[2] for method, path in server.requests if method == "DELETE"]
    assert dropped == ["by_hour", "orders", "with_header"]
    assert not [job.sql for job in server.jobs if "drop" in job.sql]


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3]:
    """Airflow keeps the client of a connection: there is one bucket for all tests."""
    with amazon() as made:
        yield made


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where the setting leads: the URL of a folder, or a bucket; as a path of Airflow's."""
    monkeypatch.setenv("AIRFLOW__COSMOS__UPLOAD_SQL_TO_XCOM", "False")
    url = {"file": (tmp_path / "shared").as_uri(), "s3": f"s3://{BUCKET}/dbt"}[request.param]
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", url)
    if request.param != "s3":
        return object_storage_path(url, None)
    bucket = request.getfixturevalue("bucket")
    bucket.clear()
    monkeypatch.setenv("AIRFLOW_CONN_SQL_STORE", json.dumps(bucket.connection))
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH_CONN_ID", "sql_store")
    return object_storage_path(url, "sql_store")


def files_below(folder: Any) -> list[str]:
    return sorted(str(each).removeprefix(f"{folder}/") for each in folder.rglob("*") if each.is_file())


def test_what_is_compiled_again_replaces_the_files_and_what_is_gone_is_named(store: Any) -> None:
    others = ["shop/one/compiled/mine.sql", "shop/two/run/model.shop.orders.json"]
    for other in others:
        (store / other).parent.mkdir(parents=True, exist_ok=True)
        (store / other).write_text("select 1")
    context = {"ti": SetupTi()}
    for dataset in ("old", "new"):
        sql_store.store([model("stg_orders", dataset=dataset)], context)

    found = sql_store.fetch("model.shop.stg_orders", context, SETUP)
    deleted = [sql_store.delete(context, SETUP) for _ in range(2)]

    assert found.dataset == "new"
    assert deleted == [1, 0]
    with pytest.raises(LookupError, match=r"no SQL of model\.shop\.stg_orders in this run\. Clear the task"):
        sql_store.fetch("model.shop.stg_orders", context, SETUP)
    assert files_below(store) == others


def test_in_a_group_what_comes_behind_waits_for_the_models(
    dbt: FakeVenv, server: BigQueryServer, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    with DAG("outer", schedule=None, start_date=START) as dag:
        group = DbtTaskGroup("shop", **arguments(dbt, server, tmp_path, select=("stg_orders",)))
        group >> EmptyOperator(task_id="after")
    server.when("`stg_orders`", error="no", seconds=0.2)

    outcome = cosmos_airflow.run(dag, raise_on_failure=False)

    assert outcome.states == {
        f"shop.{SETUP}": "success",
        "shop.stg_orders_run": "failed",
        f"shop.{TEARDOWN}": "success",
        "after": "upstream_failed",
    }
    assert len(server.jobs) == 1


@pytest.mark.parametrize("is_by_files", [False, True], ids=["xcom", "files"])
def test_in_a_mapped_group_each_index_runs_what_was_compiled_for_it(
    is_by_files: bool,
    dbt: FakeVenv,
    server: BigQueryServer,
    tmp_path: Path,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = tmp_path / "shared"
    if is_by_files:
        monkeypatch.setenv("AIRFLOW__COSMOS__UPLOAD_SQL_TO_XCOM", "False")
        monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", str(shared))
    regions = ["north", "south"]
    for nth, region in enumerate(regions, start=1):
        manifest = MANIFEST.read_text().replace("marts", region)
        dbt.script("compile", nth=nth, artifacts={"manifest.json": json.loads(manifest)})
    with DAG("outer", schedule=None, start_date=START) as dag:

        @task_group
        def per_region(region: str) -> None:
            given = arguments(dbt, server, tmp_path, select=("stg_orders",), vars={"region": region})
            DbtTaskGroup("shop", **given)

        per_region.expand(region=regions)

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded, outcome
    assert sorted(name for name in server.tables if "stg_orders" in name) == [f"{each}.stg_orders" for each in regions]
    assert len(server.jobs) == len(regions)
    assert not shared.exists() or not files_below(shared)


def test_the_page_shows_a_dag_that_can_be_and_names_parameters_of_the_task(
    dbt: FakeVenv, server: BigQueryServer, tmp_path: Path
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (example,) = blocks_in(page, "python")
    told: dict[str, Any] = {}
    exec(example, told)  # noqa: S102 - as a user copies it
    names = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)))
    given = arguments(dbt, server, tmp_path, select=("stg_orders",))

    dag = DbtDag(dag_id="shop", schedule=None, **{**given, "execution_config": told["execution_config"]})

    setup: Any = dag.get_task(SETUP)
    assert setup.py_requirements == ["dbt-core~=1.11.0", "dbt-bigquery"]
    assert str(setup.virtualenv_dir) == "/opt/airflow/dbt-environments"
    parameters = inspect.signature(DbtRunAirflowAsyncOperator.__init__).parameters
    assert {"gcp_conn_id", "poll_interval", "cancel_on_kill"} < {*names} & {*parameters}
    assert {each for each in names if each not in parameters} <= ERRORS


@pytest.mark.parametrize("seconds", [0.0, 0.5], ids=["at-once", "deferred"])
def test_the_log_says_what_a_query_has_cost(
    seconds: float, made: Any, server: BigQueryServer, cosmos_airflow: CosmosAirflow
) -> None:
    server.when(".", billed=123, seconds=seconds)

    task = cosmos_airflow.run(made("stg_orders")).tasks["stg_orders_run"]

    (job,) = server.jobs
    assert ("DEFERRED" in task.log) is bool(seconds)
    assert f"Job {job.job_id}: 123 bytes billed, " in task.log
    assert task.xcoms["return_value"] == job.job_id


def test_a_query_whose_cost_cannot_be_asked_for_has_ended_well_all_the_same(sent: Any, server: BigQueryServer) -> None:
    class IsRefusedTheCost(DbtQueryTrigger):
        async def cost(self) -> dict[str, int]:
            server.refuse("GET .*/jobs/", reason="accessDenied")
            return await super().cost()

    server.when(".", is_held=True)
    _, kept = sent().defer().trigger.serialize()
    server.jobs[0].release()

    (event,) = asyncio.run(events_of(IsRefusedTheCost(**kept)))

    assert event.payload["status"] == "success"
    assert "bytes_billed" not in event.payload


def test_neither_a_dag_file_nor_a_task_that_goes_on_imports_googles_provider(server: BigQueryServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RESUMED, json.dumps(server.profile())], check=True, stdout=-1, text=True
    )

    assert json.loads(done.stdout.splitlines()[-1]) == {"dag": [], "resumed": [], "job": "sent"}


@pytest.mark.parametrize("is_shown", [True, False])
def test_sql_is_shown_only_where_it_may_be(
    is_shown: bool, made: Any, server: BigQueryServer, cosmos_airflow: CosmosAirflow
) -> None:
    server.when(".", billed=123)

    outcome = cosmos_airflow.run(made("stg_orders", should_store_compiled_sql=is_shown))

    task = outcome.tasks["stg_orders_run"]
    assert ("create or replace view" in task.log) is is_shown
    assert "123 bytes billed" in task.log
