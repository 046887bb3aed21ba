"""The names that hooks may give to tasks, and the errors for an answer that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import TestBehavior
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.rendering.task_arguments import project_name
from tests.rendering.made import node, planned

A, B = node("model.shop.a"), node("model.shop.b", materialized="ephemeral")
TESTED, ITS_TEST = node("model.shop.t"), node("test.shop.x.1", "model.shop.t")


def shout(node: Any) -> str:
    return f"ID-{node.name.upper()}"


def names(render: RenderConfig, *nodes: Any) -> dict[str, object]:
    return {task.task_id: task.arguments.get("task_display_name") for task in planned(*nodes, render=render).tasks}


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        pytest.param(RenderConfig(), {"a_run": None, "b_run": None}, id="neither"),
        pytest.param(RenderConfig(normalize_task_id=shout), {"ID-A": "a_run", "ID-B": "b_run"}, id="id"),
        pytest.param(
            RenderConfig(normalize_task_display_name=shout), {"a_run": "ID-A", "b_run": "ID-B"}, id="display-name"
        ),
        pytest.param(
            RenderConfig(normalize_task_id=shout, normalize_task_display_name=lambda node: f"* {node.name} *"),
            {"ID-A": "* a *", "ID-B": "* b *"},
            id="both",
        ),
        pytest.param(
            RenderConfig(normalize_task_id=shout, test_behavior=TestBehavior.BUILD),
            {"ID-A": "a_model_build", "ID-B": "b_model_build"},
            id="build",
        ),
    ],
)
def test_hooks_name_tasks_and_placeholders(render: RenderConfig, expected: dict[str, object]) -> None:
    assert names(render, A, B) == expected


def test_a_task_in_the_group_of_its_node_keeps_its_name() -> None:
    render = RenderConfig(normalize_task_id=shout, normalize_task_display_name=shout)

    assert names(render, TESTED, ITS_TEST) == {"t.run": None, "t.test": None}


def test_in_a_folder_the_hook_names_the_task_within_the_folder() -> None:
    render = RenderConfig(normalize_task_id=shout, group_nodes_by_folder=True)

    assert names(render, A) == {"models.ID-A": "a_run"}


def test_what_the_node_itself_says_of_its_display_name_wins() -> None:
    own = node("model.shop.a", meta={"cosmos": {"operator_kwargs": {"task_display_name": "mine"}}})

    assert names(RenderConfig(normalize_task_display_name=shout), own) == {"a_run": "mine"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param("", r"normalize_task_id gave '' for model\.shop\.a\. It must return a text", id="empty"),
        pytest.param("  ", "It must return a text that is not empty", id="blank"),
        pytest.param(None, "normalize_task_id gave None for", id="none"),
        pytest.param(7, "normalize_task_id gave 7 for", id="number"),
        pytest.param(
            "a b",
            r"model\.shop\.a would become 'a b'\. Airflow takes letters, digits, .*normalize_task_id",
            id="blank-within",
        ),
        pytest.param("a\n", "Airflow takes letters", id="line-feed"),
        pytest.param("ü" * 251, "an id of 251 characters", id="long"),
    ],
)
def test_an_id_that_cannot_be_is_refused_with_hook_and_node(answer: object, words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        names(RenderConfig(normalize_task_id=lambda _: answer), A)


def test_one_id_for_two_nodes_is_refused_with_both() -> None:
    with pytest.raises(CosmosLoadDbtException, match=r"model\.shop\.a and model\.shop\.b would both become 'same'"):
        names(RenderConfig(normalize_task_id=lambda _: "same"), A, B)


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        pytest.param(ProjectConfig("/dbt/harbor", project_name="shop"), "harbor", id="folder"),
        pytest.param(ProjectConfig("s3://b/harbor.zip"), "harbor", id="archive"),
        pytest.param(ProjectConfig("s3://b/harbor-2.4.zip", project_name="harbor"), "harbor", id="named"),
    ],
)
def test_only_a_project_that_lies_elsewhere_is_named_by_its_configuration(
    project: ProjectConfig, expected: str
) -> None:
    copy = project if project.address is None else project.at(Path("/cache/harbor-2.4"))

    assert project_name(RenderConfig(), ExecutionConfig(), copy) == expected
