"""What does a task say of its dbt node? To the code that runs in it by its context, to people by its docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmos_venv.constants import NODE_CONFIG, ONLY_IF_CHANGED

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

IDENTIFIER = "dbt_dag_task_group_identifier"
"""In the context of a node's own task: the DAG, and the group in it that the project or the node's folder is. It is
known when the task is made."""

DOCUMENTS = frozenset({"doc", "doc_md", "doc_json", "doc_yaml", "doc_rst"})
"""Airflow's arguments with which a user documents a task himself."""


def context_of_tests(node: DbtNode) -> dict[str, Any]:
    """For the task of a node's tests."""
    return {NODE_CONFIG: node.context_dict}


def context_of_node(node: DbtNode, *, runs_only_changed: bool = False) -> dict[str, Any]:
    """For the task that runs the node.

    :param runs_only_changed: whether the node is a seed that is to be loaded only when its content has changed.
    """
    context = {**context_of_tests(node), "package_name": node.package_name, IDENTIFIER: ""}
    if runs_only_changed:
        context[ONLY_IF_CHANGED] = True
    return context


def document_of_node(node: DbtNode) -> str:
    """The node for people, in Markdown: dbt's description, and where to find it."""
    lines = [f"- dbt node: `{node.unique_id}`", f"- file: `{node.context_dict['original_file_path']}`"]
    if materialized := node.materialized:
        lines.append(f"- materialized: `{materialized}`")
    if node.tags:
        lines.append(f"- tags: {', '.join(f'`{tag}`' for tag in node.tags)}")
    facts, description = "\n".join(lines), node.description.strip()
    return f"{description}\n\n{facts}" if description else facts
