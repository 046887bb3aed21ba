"""What are tasks called: by default, by the user's hooks, and where a name is too long for Airflow?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.config.values import folder_name
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

LONGEST_ID = 250
"""Characters that Airflow takes in the id of a task."""

LONGEST_GROUP_LABEL = 200
"""Likewise in the id of a group within its parent."""

_AIRFLOW_ID = r"[\w.-]+"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskName:
    """:param label: the task's id within its group.
    :param display: what Airflow shows instead; None: nothing else.
    """

    label: str
    display: str | None = None


def name_of(node: DbtNode, default: str, render: RenderConfig) -> TaskName:
    """What the task of a node is called that stands in no group of its own.

    :param default: the id that it has without hooks, which is shown where a hook gives another id.
    :raises CosmosValueError: when a hook gives no text, or an id that Airflow refuses; names the hook and the node.
    """
    id_hook, display_hook = render.normalize_task_id, render.normalize_task_display_name
    label, display = default, None
    if id_hook is not None:
        label, display = _asked("normalize_task_id", id_hook, node), default
        _refuse_bad_id(label, node)
    if display_hook is not None:
        display = _asked("normalize_task_display_name", display_hook, node)
    return TaskName(label=label, display=display)


def project_name(render: RenderConfig, execution: ExecutionConfig, project: ProjectConfig) -> str:
    """The project folder's name where the parser sees one, whatever ``project_name`` says: so it is in Cosmos."""
    parsed = render.project_path or project.dbt_project_path
    if parsed is not None:
        return folder_name(parsed)
    return project.project_name or (folder_name(execution.project_path) if execution.project_path else "dbt")


def _asked(hook: str, function: Callable[..., object], node: DbtNode) -> str:
    answer = function(node)
    if not isinstance(answer, str) or not answer.strip():
        raise CosmosValueError(
            f"RenderConfig.{hook} gave {answer!r} for {node.unique_id}. It must return a text that is not empty; "
            "node.name is what ids are made of without it."
        )
    return answer


def is_airflow_id(text: str) -> bool:
    """Whether Airflow takes these characters in an id."""
    return re.fullmatch(_AIRFLOW_ID, text) is not None


def _refuse_bad_id(label: str, node: DbtNode) -> None:
    if not is_airflow_id(label):
        raise CosmosValueError(
            f"RenderConfig.normalize_task_id gave {label!r} for {node.unique_id}. Airflow takes letters, digits, dots, "
            "dashes and underscores in an id; normalize_task_display_name may show anything."
        )
    if len(label) > LONGEST_ID:
        raise CosmosValueError(
            f"RenderConfig.normalize_task_id gave an id of {len(label)} characters for {node.unique_id}, {label!r}. "
            f"Airflow takes {LONGEST_ID}."
        )
