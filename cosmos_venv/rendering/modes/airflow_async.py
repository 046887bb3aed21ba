"""The plan of ExecutionMode.AIRFLOW_ASYNC: one task per node, and the task of a model is a query of BigQuery.

A setup task, which compiles the models, stands before all others; behind them a teardown task, which deletes what was
stored. A model that one query cannot build is refused here, before any run.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.constants import DBT_SETUP_ASYNC_TASK_ID, DBT_TEARDOWN_ASYNC_TASK_ID
from cosmos_venv.dbt.bigquery.refusals import ADAPTER, INSTEAD, NO_SQL_STORE, why_no_single_query
from cosmos_venv.dbt.selection_texts import known_to_dbt
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.rendering.model import Plan, PlannedTask
from cosmos_venv.rendering.task_arguments import IDENTIFIER

if TYPE_CHECKING:
    from cosmos_venv.config import RenderConfig
    from cosmos_venv.project.node import DbtNode
    from cosmos_venv.rendering.plan_request import PlanRequest
    from cosmos_venv.rendering.task_arguments import PlanningSettings

_MODULE = "operators.airflow_async"
_VERBS = ("Build", "Seed", "SemanticMetricView", "Snapshot", "Source", "Test")
_ASYNC_OF = {
    f"operators.local.Dbt{verb}Local{kind}": f"{_MODULE}.Dbt{verb}AirflowAsync{kind}"
    for verb, kind in (*((verb, "Operator") for verb in _VERBS), ("SourceFreshness", "Sensor"))
}
_MODELS = ("operators.local.DbtRunLocalOperator", "operators.virtualenv.DbtRunVirtualenvOperator")
_SELECTING = frozenset({"select", "exclude", "models", "selector"})
_REQUIRED_PACKAGES = ("airflow.providers.google", "google.cloud.bigquery")


def async_plan(plan: Plan, request: PlanRequest) -> Plan:
    """The plan in which each model is a query.

    :param plan: of the same nodes, whose tasks run dbt.
    :param request: what is planned.
    :raises CosmosValueError: for another warehouse, a model that one query cannot build, and what is not installed.
    """
    nodes, settings = request.nodes, request.settings
    models = [task for task in plan.tasks if task.operator in _MODELS]
    if models:
        _refuse_what_is_missing(settings)
    queries = [task for task in models if not nodes[str(task.node_id)].has_ephemeral_materialization]
    for task in models:
        _refuse_model(nodes[str(task.node_id)], task)
    compiled = sorted(str(task.node_id) for task in queries)
    ids = {task.task_id for task in queries}
    tasks = [_of_node(task, is_query=task.task_id in ids, has_setup=settings.has_setup) for task in plan.tasks]
    setup = _setup(request.render, request.operator_pattern, compiled) if settings.has_setup else None
    teardown = _teardown() if settings.has_teardown else None
    own = {task.task_id: task.task_id for task in (setup, teardown) if task is not None}
    made = msgspec.structs.replace(plan, tasks=tuple(tasks), tasks_map={**plan.tasks_map, **own})
    # ``between`` adds the edge from setup to teardown too: without it Airflow takes them for no pair, and clears the
    # setup task alone.
    return made.between(setup, teardown)


def _setup(render: RenderConfig, operator: str, compiled: list[str]) -> PlannedTask:
    suffix = "Virtualenv" if operator.startswith("operators.virtualenv.") else ""
    # With a word of Cosmos among the items, which dbt does not know, dbt gets no --select: it then compiles more
    # models than have tasks.
    select = render.select if known_to_dbt(render.select) == render.select else []
    return PlannedTask(
        task_id=DBT_SETUP_ASYNC_TASK_ID,
        operator=f"{_MODULE}.SetupAsync{suffix}Operator",
        arguments={
            "select": " ".join(select) or None,
            "exclude": " ".join(known_to_dbt(render.exclude)) or None,
            "selector": render.selector,
            "models": None,
            "compiled_nodes": compiled,
            "emit_datasets": False,
            "should_store_compiled_sql": False,
            "should_upload_compiled_sql": False,
        },
        context={IDENTIFIER: ""},
    )


def _teardown() -> PlannedTask:
    return PlannedTask(
        task_id=DBT_TEARDOWN_ASYNC_TASK_ID,
        operator=f"{_MODULE}.TeardownAsyncOperator",
        arguments={"producer_task_id": DBT_SETUP_ASYNC_TASK_ID},
        context={IDENTIFIER: ""},
    )


def _of_node(task: PlannedTask, *, is_query: bool, has_setup: bool) -> PlannedTask:
    if is_query:
        arguments: dict[str, Any] = {
            **{name: each for name, each in task.arguments.items() if name not in _SELECTING},
            "model_unique_id": task.node_id,
            "producer_task_id": DBT_SETUP_ASYNC_TASK_ID,
        }
        return msgspec.structs.replace(task, operator=f"{_MODULE}.DbtRunAirflowAsyncOperator", arguments=arguments)
    # No names of Cosmos: a placeholder, a task in a managed environment, and dbt run for an ephemeral model, for which
    # dbt does nothing.
    if task.operator not in _ASYNC_OF:
        return task
    arguments = {**task.arguments, **({"producer_task_id": DBT_SETUP_ASYNC_TASK_ID} if has_setup else {})}
    return msgspec.structs.replace(task, operator=_ASYNC_OF[task.operator], arguments=arguments)


def _refuse_what_is_missing(settings: PlanningSettings) -> None:
    if settings.query_adapter != ADAPTER:
        raise CosmosValueError(
            f"ExecutionMode.AIRFLOW_ASYNC sends the queries of models to BigQuery, and the profile is of "
            f"{settings.query_adapter!r}. Use ExecutionMode.WATCHER, LOCAL or VIRTUALENV there."
        )
    if not settings.has_setup:
        raise CosmosValueError(
            "[cosmos] enable_setup_async_task = False, and there are models: nothing would compile them for "
            "ExecutionMode.AIRFLOW_ASYNC. Leave the setting out, or select seeds, snapshots and tests alone."
        )
    if not settings.has_sql_store:
        raise CosmosValueError(NO_SQL_STORE)
    for name in _REQUIRED_PACKAGES:
        if not _is_installed(name):
            raise CosmosValueError(
                f"ExecutionMode.AIRFLOW_ASYNC needs {name}, which is not installed beside Airflow. Install "
                "apache-airflow-providers-google, with what it requires."
            )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def _refuse_model(node: DbtNode, task: PlannedTask) -> None:
    if node.has_ephemeral_materialization:
        return
    if reason := why_no_single_query(node.config, node.original_file_path):
        raise CosmosValueError(
            f"{node.unique_id} does not go with ExecutionMode.AIRFLOW_ASYNC: {reason}, and a task of that mode is one "
            f"query around compiled SQL. {INSTEAD}."
        )
    if task.profile:
        raise CosmosValueError(
            f"{node.unique_id}: meta.cosmos.profile_config does not go with ExecutionMode.AIRFLOW_ASYNC: one task "
            "compiles all models with one profile. Drop it, or give the node a DAG of its own."
        )
    if wrong := sorted(_SELECTING & node.operator_kwargs_to_override.keys()):
        raise CosmosValueError(
            f"{node.unique_id}: meta.cosmos.operator_kwargs sets {wrong[0]}, and the query of a model selects nothing "
            "in ExecutionMode.AIRFLOW_ASYNC. Drop it."
        )
