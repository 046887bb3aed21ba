"""Plans of ExecutionMode.AIRFLOW_ASYNC that no recorded configuration has, and DAGs that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cosmos_venv.compat import DAG
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import BatchBy, DbtResourceType, ExecutionMode, TestBehavior
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.airflow_tasks import make_tasks
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.model import Plan
from cosmos_venv.rendering.task_arguments import PlanningSettings
from tests.rendering import made as of_nodes
from tests.rendering.made import node
from tests.rendering.recorded import PROJECT

SETUP, TEARDOWN = "dbt_setup_async", "dbt_teardown_async"
RAW = node("seed.shop.raw")
ORDERS = node("model.shop.orders", RAW.unique_id)
OF_ORDERS = node("test.shop.unique_orders.1", ORDERS.unique_id)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's provider and its client library, as far as it is looked whether they are there."""
    for name in ("airflow.providers.google", "google", "google.cloud", "google.cloud.bigquery"):
        module = ModuleType(name)
        module.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)


def planned(*nodes: DbtNode, requirements: list[str] | None = None, **given: Any) -> Plan:
    names = ("query_adapter", "has_setup", "has_teardown", "has_sql_store")
    settings = {name: given.pop(name) for name in names if name in given}
    return of_nodes.planned(
        *nodes,
        render=RenderConfig(**given),
        mode=ExecutionMode.AIRFLOW_ASYNC,
        execution={"async_py_requirements": requirements or []},
        settings=PlanningSettings(**{"query_adapter": "bigquery", **settings}),
    )


def operators(made: Plan) -> dict[str, str]:
    return {task.task_id: task.operator.rpartition(".")[2] for task in made.tasks}


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize(
    ("requirements", "kind", "mode"), [([], "", "AirflowAsync"), (["dbt-bigquery"], "Virtualenv", "Virtualenv")]
)
def test_models_are_queries_and_all_else_runs_dbt_where_models_are_compiled(
    requirements: list[str], kind: str, mode: str
) -> None:
    made = planned(RAW, ORDERS, OF_ORDERS, requirements=requirements, select=["+orders"], exclude=["tag:x"])

    assert operators(made) == {
        SETUP: f"SetupAsync{kind}Operator",
        "raw_seed": f"DbtSeed{mode}Operator",
        "orders.run": "DbtRunAirflowAsyncOperator",
        "orders.test": f"DbtTest{mode}Operator",
        TEARDOWN: "TeardownAsyncOperator",
    }
    tasks = {task.task_id: task for task in made.tasks}
    assert tasks[SETUP].arguments["compiled_nodes"] == [ORDERS.unique_id]
    assert (tasks[SETUP].arguments["select"], tasks[SETUP].arguments["exclude"]) == ("+orders", "tag:x")
    made = planned(RAW, ORDERS, select=["exclude_resource_type:seed"], exclude=["exclude_resource_type:model", "tag:x"])
    assert (made.tasks[0].arguments["select"], made.tasks[0].arguments["exclude"]) == (None, "tag:x")
    assert tasks["orders.run"].arguments == {"model_unique_id": ORDERS.unique_id, "producer_task_id": SETUP}


@pytest.mark.usefixtures("provider")
def test_what_reads_a_model_with_on_error_continue_runs_behind_its_failed_query() -> None:
    daily = node("model.shop.daily", on_error="continue", materialized="table")

    made = planned(daily, node("model.shop.report", daily.unique_id, materialized="table"))

    assert operators(made)["daily_run_on_error"] == "empty"
    assert {("daily_run", "daily_run_on_error"), ("daily_run_on_error", "report_run")} <= {*made.edges}
    assert (SETUP, "daily_run_on_error") not in made.edges  # Airflow wants all_success right behind a setup task


@pytest.mark.usefixtures("provider")
def test_an_ephemeral_model_is_no_query_of_its_own() -> None:
    ephemeral = node("model.shop.paid", materialized="ephemeral")

    made = planned(ephemeral, ORDERS, ephemeral_models_as_empty_operator=False)

    (setup,) = (task for task in made.tasks if task.task_id == SETUP)
    assert setup.arguments["compiled_nodes"] == [ORDERS.unique_id]
    assert operators(made)["paid_run"] == "DbtRunLocalOperator"


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize(
    ("config", "file", "reason"),
    [
        ({"materialized": "incremental"}, "orders.sql", "it is materialized as incremental"),
        ({"materialized": "table", "pre-hook": ["select 1"]}, "orders.sql", "it has a pre-hook"),
        ({"materialized": "table"}, "orders.py", "it is a Python model"),
    ],
)
def test_a_model_that_one_query_cannot_build_is_refused_with_the_way_out(
    config: dict[str, Any], file: str, reason: str
) -> None:
    model = DbtNode("model.shop.orders", DbtResourceType.MODEL, [], Path(), Path(file), config=config)

    words = rf"model\.shop\.orders does not go with .*: {reason}, .*ExecutionMode\.WATCHER, or LOCAL .*batch_by"
    with pytest.raises(CosmosValueError, match=words):
        planned(model)


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize(
    ("cosmos", "words"),
    [
        ({"profile_config": {"target_name": "prod"}}, "meta.cosmos.profile_config does not go with"),
        ({"operator_kwargs": {"select": "orders"}}, "operator_kwargs sets select, and the query"),
    ],
)
def test_a_model_with_a_dbt_of_its_own_is_refused(cosmos: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=rf"model\.shop\.orders: .*{words}"):
        planned(node("model.shop.orders", meta={"cosmos": cosmos}))


@pytest.mark.usefixtures("provider")
def test_what_is_stored_for_a_model_is_deleted_when_that_model_alone_is_cleared() -> None:
    assert (SETUP, TEARDOWN) in planned(ORDERS).edges  # Airflow takes the two for a pair by it


def tasks_of(made: Plan, *, times: int = 1, **of_dag: Any) -> dict[str, Any]:
    profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml")
    shared = {"profile_config": profile, "project_dir": PROJECT}
    none: Any = None  # the plan leaves nothing to a converter
    with DAG("shop", **of_dag) as dag:
        for _ in range(times):
            make_tasks(made, shared, dag=dag, task_group=None, converters=none)
    return dag.task_dict


@pytest.mark.usefixtures("provider")
def test_a_trigger_rule_that_airflow_refuses_behind_the_setup_task_is_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"orders_run has the trigger rule 'none_failed'.*setup task dbt_setup"):
        tasks_of(planned(ORDERS), default_args={"trigger_rule": "none_failed"})


@pytest.mark.usefixtures("provider")
def test_a_model_may_have_what_its_query_takes() -> None:
    own = {"queue": "q", "location": "EU"}

    tasks = tasks_of(planned(node("model.shop.orders", meta={"cosmos": {"operator_kwargs": own}})))

    assert (tasks["orders_run"].queue, tasks["orders_run"].location) == ("q", "EU")


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize("own", [{"vars": {"a": 1}}, {"callback": "a.b", "queue": "q"}, {"project_dir": "p"}])
def test_what_only_dbt_can_heed_is_refused_of_a_model(own: dict[str, Any]) -> None:
    made = planned(node("model.shop.orders", meta={"cosmos": {"operator_kwargs": own}}))

    with pytest.raises(CosmosValueError, match=rf"orders: .*operator_kwargs sets {next(iter(own))}, and its task runs"):
        tasks_of(made)


def test_another_warehouse_is_named() -> None:
    with pytest.raises(CosmosValueError, match=r"to BigQuery, and the profile is of 'snowflake'\. Use Exec"):
        planned(ORDERS, query_adapter="snowflake")


def test_a_provider_that_is_missing_is_named_with_its_package() -> None:
    with pytest.raises(CosmosValueError, match=r"needs airflow\.providers\.google, .*apache-airflow-providers-google"):
        planned(ORDERS)


def test_models_that_nobody_would_compile_are_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"enable_setup_async_task = False, and there are models"):
        planned(ORDERS, has_setup=False)


def test_two_environments_of_one_project_are_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"operator_args\['py_requirements'\]=\['dbt-core==1.10.0'\] and Exec"):
        Configuration.of(
            ProjectConfig(PROJECT),
            ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
            ExecutionConfig(ExecutionMode.AIRFLOW_ASYNC, async_py_requirements=["dbt-bigquery"]),
            None,
            {"py_requirements": ["dbt-core==1.10.0"]},
        )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"render_config": RenderConfig(test_behavior=TestBehavior.BUILD)},
            "RenderConfig.test_behavior TestBehavior.BUILD",
        ),
        ({"render_config": RenderConfig(batch_by=BatchBy.FOLDER)}, "RenderConfig.batch_by: a query builds one model"),
        ({"render_config": RenderConfig(run_summary=True)}, "RenderConfig.run_summary"),
        (
            {"render_config": RenderConfig(run_hooks_once=True)},
            "RenderConfig.run_summary, run_artifacts, notify_owners or run_hooks_once",
        ),
        ({"run_params": True}, "run_params: the models are compiled before"),
    ],
)
def test_what_single_queries_cannot_do_is_refused(given: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"render_config": None, "operator_args": None, **given}

    with pytest.raises(CosmosValueError, match=f"AIRFLOW_ASYNC does not go with {words}"):
        Configuration.of(
            ProjectConfig(PROJECT),
            ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
            ExecutionConfig(ExecutionMode.AIRFLOW_ASYNC, async_py_requirements=[]),
            **arguments,
        )
