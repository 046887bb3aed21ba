"""A node that cannot become a task is named, with the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import (
    DbtDag,
    ExecutionConfig,
    ExecutionMode,
    LoadMode,
    ProjectConfig,
    RenderConfig,
    TestBehavior,
)
from cosmos_venv.compat import DAG, EmptyOperator
from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from tests.kit import harbor_profile

RECORDED = Path(__file__).parent.parent / "data" / "rendering-project"
NODE = "model.harbor_ops.stg_vessels"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_project(tmp_path / RECORDED.name)


def copy_of_project(folder: Path) -> Path:
    (folder / "models").mkdir(parents=True)
    for name in ("dbt_project.yml", "manifest.json", "profiles.yml"):
        shutil.copy(RECORDED / name, folder)
    return folder


def build(project: Path, *, operator_args: dict[str, Any] | None = None, **render: Any) -> DbtDag:
    return DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project, manifest_path=project / "manifest.json"),
        profile_config=harbor_profile(project),
        execution_config=ExecutionConfig(ExecutionMode.VIRTUALENV),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, **render),
        operator_args={"py_requirements": ["dbt-duckdb"], **(operator_args or {})},
    )


def edit(project: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest's entry of the node."""
    manifest = json.loads((project / "manifest.json").read_text())
    change(manifest["nodes"][NODE])
    (project / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("cosmos", "words"),
    [
        ({"operator_kwargs": {"task_id": "x"}}, "sets task_id, which is decided"),
        ({"operator_kwargs": {"dag": "x"}}, "sets dag, which is decided"),
        ({"operator_kwargs": {"task_group": "x"}}, "sets task_group, which is decided"),
        ({"operator_kwargs": {"profile_config": {}}}, "config.meta.cosmos.profile_config"),
        ({"operator_kwargs": {"extra_context": "x"}}, "extra_context='x' must be a mapping"),
        (
            {"operator_kwargs": {"retries": "abc"}},
            "cannot become the task 'stg_vessels_run': 'retries' type must be int",
        ),
        ({"profile_config": {"profile_mapping": ["a"]}}, "must be a mapping of fields"),
        ({"profile_config": {"target": "x"}}, "names 'target'; it can name"),
    ],
)
def test_what_a_node_says_of_its_task_is_refused_with_the_node(
    project: Path, cosmos: dict[str, Any], words: str
) -> None:
    edit(project, lambda entry: entry["config"].update(meta={"cosmos": cosmos}))

    with pytest.raises((CosmosLoadDbtException, CosmosValueError), match=words) as refused:
        build(project)

    assert NODE in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"extra_context": "x"}, r"operator_args\['extra_context'\]='x' must be a mapping"),
        ({"exclude": 5}, r"operator_args\['exclude'\]=5 must be a text or a list"),
        ({"task_group": "x"}, r"operator_args\['task_group'\]"),
    ],
)
def test_what_all_tasks_are_given_is_refused_by_name(project: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        build(project, operator_args=arguments)


def test_a_project_folder_that_cannot_be_a_task_id_is_named(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path / "my project")

    with pytest.raises(CosmosValueError, match=r"'my project_test'.*the project's folder"):
        build(project, test_behavior=TestBehavior.AFTER_ALL)


@pytest.mark.parametrize(("characters", "words"), [(210, "the group"), (260, "an id of")])
def test_a_name_that_is_too_long_for_airflow_is_refused_with_its_node(
    project: Path, characters: int, words: str
) -> None:
    text = (project / "manifest.json").read_text()
    long = "port_calls".ljust(characters, "x")
    (project / "manifest.json").write_text(text.replace('harbor_ops.port_calls"', f'harbor_ops.{long}"'))

    with pytest.raises(CosmosValueError, match=words) as refused:
        build(project)

    assert long in str(refused.value)


def outside_of_the_dag(**given: Any) -> EmptyOperator:
    return EmptyOperator(task_id=given["node"].name)


def in_another_dag(**given: Any) -> EmptyOperator:
    return EmptyOperator(task_id=given["node"].name, dag=DAG("other"))


def a_label(**given: Any) -> Any:
    from airflow.sdk import Label

    return Label("no task")


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        (outside_of_the_dag, "outside of the DAG. Pass dag=dag"),
        (in_another_dag, "outside of the DAG. Pass dag=dag"),
        (a_label, "must return a task, a task group, or None"),
    ],
)
def test_what_a_converter_makes_is_a_task_of_this_dag(project: Path, convert: Any, words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        build(project, node_converters={DbtResourceType.SEED: convert}, test_behavior=TestBehavior.NONE)
