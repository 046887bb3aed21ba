"""What does a task say of its dbt node? To the code that runs in it by its context, to people by its docs."""

from __future__ import annotations

from typing import Any

from cosmos_venv.project.node import DbtNode

IDENTIFIER = "dbt_dag_task_group_identifier"
"""In the context of a node's own task: the DAG, and the group of the project in it. Known when the task is made."""

DOCUMENTS = frozenset({"doc", "doc_md", "doc_json", "doc_yaml", "doc_rst"})
"""Airflow's arguments with which a user documents a task himself."""


def context_of_tests(node: DbtNode) -> dict[str, Any]:
    """For the task of a node's tests."""
    return {"dbt_node_config": node.context_dict}


def context_of_node(node: DbtNode) -> dict[str, Any]:
    """For the task that runs the node."""
    return {**context_of_tests(node), "package_name": node.package_name, IDENTIFIER: ""}


def document_of_node(node: DbtNode) -> str:
    """The node for people, in Markdown: dbt's description, and where to find it."""
    facts: dict[str, list[Any]] = {
        "dbt node": [node.unique_id],
        "file": [node.original_file_path.as_posix()],
        "materialized": [node.config.get("materialized")],
        "tags": node.tags,
    }
    lines = [
        f"- {name}: {', '.join(f'`{value}`' for value in values)}" for name, values in facts.items() if any(values)
    ]
    return "\n\n".join(filter(None, [node.description.strip(), "\n".join(lines)]))
