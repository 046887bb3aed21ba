"""The name, the context and the arguments of the task of one node, and the settings for a plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.config.validation import folder_name
from cosmos_venv.constants import (
    BATCH_CONFIG,
    NODE_CONFIG,
    ONLY_IF_CHANGED,
    DbtResourceType,
    TestIndirectSelection,
)
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode


IDENTIFIER = "dbt_dag_task_group_identifier"
"""Key in the context of a node's own task: the ids of the DAG and of the project's or folder's group in it. The value
is known when the task is made."""

DOCUMENTS = frozenset({"doc", "doc_md", "doc_json", "doc_yaml", "doc_rst"})
"""Airflow's arguments with which a user documents a task himself."""

BUILT = (
    DbtResourceType.MODEL,
    DbtResourceType.SEED,
    DbtResourceType.SNAPSHOT,
    DbtResourceType.FUNCTION,
    DbtResourceType.SEMANTIC_METRIC_VIEW,
)
"""The types of nodes that ``dbt build`` makes in the database."""

LONGEST_ID = 250
"""Characters that Airflow takes in the id of a task."""

_AIRFLOW_ID = r"[\w.-]+"

SETUP_OPERATOR_ARGS = "setup_operator_args"
"""The shared argument that holds arguments for the producer of ExecutionMode.WATCHER alone.

They override the producer's other arguments of the same names.
"""

NO_OTHER_TESTS = {"indirect_selection": TestIndirectSelection.EMPTY.value}
"""With this argument dbt runs only the tests that the selection names, and none that come with nodes."""

NOTHING_ELSE: dict[str, Any] = {
    **dict.fromkeys(("select", "models", "exclude", "selector", "callback")),
    "push_run_results_to_xcom": False,
}
"""The arguments of a task that runs no nodes. They replace the arguments that all tasks share."""

OF_THE_PLAN = frozenset({"dag", "task_group", "task_id"})
"""Arguments of an operator that no user gives: they say where the task stands."""


def context_of_node(node: DbtNode, *, runs_only_changed: bool = False) -> dict[str, Any]:
    """The context of the task that runs a node.

    :param node: the node.
    :param runs_only_changed: whether the node is a seed that is to be loaded only when its content has changed.
    """
    context: dict[str, Any] = {NODE_CONFIG: node.context_dict, "package_name": node.package_name, IDENTIFIER: ""}
    if runs_only_changed:
        context[ONLY_IF_CHANGED] = True
    return context


def context_of_batch(name: str, nodes: Mapping[str, str]) -> dict[str, Any]:
    """The context of the task of a batch.

    :param name: of the batch.
    :param nodes: unique id of each node and test that it runs to the text by which dbt selects it.
    """
    return {BATCH_CONFIG: {"name": name, "nodes": list(nodes)}, IDENTIFIER: ""}


def name_of(node: DbtNode, default: str, render: RenderConfig) -> tuple[str, str | None]:
    """The id of the task of a node that has no group of its own, and the text that is shown in its place, if any.

    :param node: the node.
    :param default: the id that it has without hooks, which is shown where a hook gives another id.
    :param render: has the hooks.
    :raises CosmosValueError: when a hook gives no text; names the hook and the node.
    """
    id_hook, display_hook = render.normalize_task_id, render.normalize_task_display_name
    label, display = default, None
    if id_hook is not None:
        label, display = _answer_of("normalize_task_id", id_hook, node), default
    if display_hook is not None:
        display = _answer_of("normalize_task_display_name", display_hook, node)
    return label, display


def _answer_of(hook: str, function: Callable[..., object], node: DbtNode) -> str:
    answer = function(node)
    if not isinstance(answer, str) or not answer.strip():
        raise CosmosValueError(
            f"RenderConfig.{hook} gave {answer!r} for {node.unique_id}. It must return a text that is not empty; "
            "without the hook, ids are made of node.name."
        )
    return answer


def is_airflow_id(text: str) -> bool:
    """Whether Airflow takes the characters of an id.

    :param text: the id.
    """
    return re.fullmatch(_AIRFLOW_ID, text) is not None


def project_name(render: RenderConfig, execution: ExecutionConfig, project: ProjectConfig) -> str:
    """The name of a project. As in Cosmos, it is the name of the folder that the parser sees, if there is one.

    A project at a URL has its ``project_name`` instead: the name of an archive may change with each version.

    :param render: names the folder as the parser sees it.
    :param execution: names it as tasks see it, which counts where nothing else names the project.
    :param project: names it for both, or gives the name.
    """
    parsed = render.project_path or project.dbt_project_path
    if parsed is not None and project.address is None:
        return folder_name(parsed)
    return project.project_name or (folder_name(execution.project_path) if execution.project_path else "dbt")


def continuing(nodes: Iterable[DbtNode]) -> dict[str, list[str]]:
    """The argument ``continuing`` of a task that builds several nodes; empty if no model has ``on_error: continue``.

    :param nodes: the nodes.
    """
    found = [node.unique_id for node in nodes if node.continues_on_error]
    return {"continuing": found} if found else {}


class PlanningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of Airflow's configuration and of the DAG for a plan; the planner itself reads none.

    :param groups_by_path: ``enable_hierarchical_naming_for_group_nodes_by_folder``.
    :param most_watching: ``watcher_max_tasks``: how many tasks may watch one producer; 0: any number.
    :param is_choosable: whether runs may choose nodes, by params of the DAG.
    :param longest_page: ``task_docs_max_chars``: about how many characters the documentation of a task may have.
    :param has_sql_pages: ``task_docs_compiled_sql``: whether this documentation has the compiled SQL of a model.
    :param docs_base: the URL of the published dbt docs; empty: there are none.
    :param query_adapter: ExecutionMode.AIRFLOW_ASYNC: dbt's name of the adapter; empty in other modes.
    :param has_setup: ``enable_setup_async_task``.
    :param has_teardown: ``enable_teardown_async_task``.
    :param has_metric_views: ``enable_semantic_metric_view_reclassification``: whether views of metrics are a type of
        their own.
    :param has_sql_store: whether compiled SQL has a place to go to: ``upload_sql_to_xcom`` or ``remote_target_path``.
    :param asks_freshness: ExecutionMode.WATCHER: whether the producer looks at sources, for its ``freshness_callback``.
    """

    groups_by_path: bool = False
    most_watching: int = 0
    is_choosable: bool = False
    longest_page: int = 3_000
    has_sql_pages: bool = False
    docs_base: str = ""
    query_adapter: str = ""
    has_setup: bool = True
    has_teardown: bool = True
    has_metric_views: bool = False
    has_sql_store: bool = True
    asks_freshness: bool = False


def arguments_of(node: DbtNode) -> dict[str, Any]:
    """The arguments that ``config.meta.cosmos.operator_kwargs`` of a node gives to its task.

    :param node: the node.
    :raises CosmosLoadDbtException: when it is no mapping, or sets what a node cannot.
    """
    arguments = node.operator_kwargs_to_override
    if not arguments:  # as of most nodes
        return arguments
    for name in OF_THE_PLAN & arguments.keys():
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs sets {name}, which is decided for each task by the "
            "project. Drop it; task_display_name changes what is shown."
        )
    if "profile_config" in arguments:
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs sets profile_config. Write it beside "
            "operator_kwargs, as config.meta.cosmos.profile_config."
        )
    if not isinstance(arguments.get("extra_context") or {}, Mapping):
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs.extra_context={arguments['extra_context']!r} must "
            "be a mapping."
        )
    return arguments
