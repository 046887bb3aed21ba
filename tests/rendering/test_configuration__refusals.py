"""A node that cannot become a task is named, with the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtTaskGroup, ExecutionConfig, ExecutionMode, TestBehavior
from cosmos_venv.compat import DAG, IS_AIRFLOW_3, EmptyOperator, TaskGroup
from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.node import DbtNode
from tests.rendering.recorded_project import START, copy_of_project, dag_of, edit_node, manifest_arguments

NODE = "model.harbor_ops.stg_vessels"


@pytest.mark.parametrize(
    ("cosmos", "words"),
    [
        ({"operator_kwargs": {"dag": "x"}}, "sets dag, which is decided"),
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
    edit_node(project, NODE, meta={"cosmos": cosmos})

    with pytest.raises((CosmosLoadDbtException, CosmosValueError), match=words) as refused:
        dag_of(project)

    assert NODE in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"extra_context": "x"}, r"operator_args\['extra_context'\]='x' must be a mapping"),
        ({"exclude": 5}, r"operator_args\['exclude'\]=5 must be a text or a list"),
    ],
)
def test_what_all_tasks_are_given_is_refused_by_name(project: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        dag_of(project, operator_args=arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"select": "tag:a"}, "operator_args['select']"),
        ({"exclude": ["a"], "selector": "s"}, "operator_args['selector'], operator_args['exclude']"),
        ({"dbt_cmd_flags": ["--exclude=a"]}, "--exclude=a in operator_args['dbt_cmd_flags']"),
        ({"dbt_cmd_flags": {"build": ["--select", 5], "run": ["-m", "a"]}}, "--select in operator_args"),
        ({"dbt_cmd_global_flags": ("--resource-type", "model")}, "--resource-type in operator_args"),
    ],
)
def test_what_would_leave_nodes_of_a_batch_out_is_refused(project: Path, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(CosmosValueError, match=r"would leave out nodes that are given to one dbt build") as refused:
        dag_of(project, operator_args=arguments, render={"batch_by": "folder"})

    assert str(refused.value).startswith(named)


FAIL_FAST: dict[str, Any] = {"fail_fast" if IS_AIRFLOW_3 else "fail_stop": True}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            {"execution_config": ExecutionConfig(ExecutionMode.WATCHER)},
            r"does not go with ExecutionMode\.WATCHER.*operator_args=\{'fail_fast': True\}",
            id="watcher",
        ),
        pytest.param({"run_params": True}, r"does not go with run_params.*leave run_params out", id="run-params"),
        pytest.param({"render": {"run_hooks_once": True}}, "does not go with run_hooks_once", id="hooks"),
    ],
)
def test_a_dag_that_fails_fast_is_refused_where_tasks_need_another_trigger_rule(
    project: Path, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(CosmosValueError, match=f"^{next(iter(FAIL_FAST))}=True of the DAG {words}"):
        dag_of(project, **arguments, **FAIL_FAST)

    with (
        DAG("host", schedule=None, start_date=START, **FAIL_FAST),
        pytest.raises(CosmosValueError, match=words),
    ):
        DbtTaskGroup(**manifest_arguments(project, **arguments))


def test_a_dag_that_fails_fast_is_refused_where_a_model_continues_on_error(project: Path) -> None:
    manifest = json.loads((project / "manifest.json").read_text())
    for each in manifest["nodes"].values():
        each["config"]["on_error"] = "continue"
    (project / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(CosmosValueError, match=r"=True of the DAG does not go with on_error: continue of a model"):
        dag_of(project, **FAIL_FAST)


def test_a_dag_that_fails_fast_may_have_a_task_of_each_node_and_a_summary(project: Path) -> None:
    dag = dag_of(project, render={"run_summary": True}, **FAIL_FAST)

    assert "dbt_run_summary" in dag.task_ids


def made_by_converter(dag: DAG, task_group: TaskGroup | None, node: DbtNode, **_: object) -> EmptyOperator:
    return EmptyOperator(task_id=node.name, dag=dag, task_group=task_group, trigger_rule="all_done")


@pytest.mark.parametrize(
    ("arguments", "render"),
    [
        pytest.param({"operator_args": {"trigger_rule": "all_done"}}, {}, id="operator-args"),
        pytest.param({"default_args": {"trigger_rule": "all_done"}}, {}, id="default-args"),
        pytest.param({}, {"node_converters": {DbtResourceType.MODEL: made_by_converter}}, id="converter"),
    ],
)
def test_a_trigger_rule_that_airflow_refuses_behind_a_setup_task_is_refused(
    project: Path, arguments: dict[str, Any], render: dict[str, Any]
) -> None:
    words = "has the trigger rule 'all_done', and is right behind the setup task dbt_on_run_start, where Airflow"

    with pytest.raises(CosmosValueError, match=words):
        dag_of(project, render={"run_hooks_once": True, **render}, **arguments)


def test_flags_that_leave_no_node_out_are_given_to_batches(project: Path) -> None:
    flags = {"run": ["-m", "a"], "build": ["-x"]}

    dag = dag_of(project, operator_args={"dbt_cmd_flags": flags}, render={"batch_by": "wave"})

    assert "wave_1_batch" in dag.task_ids


def test_a_project_folder_that_cannot_be_a_task_id_is_named(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path / "my project")

    with pytest.raises(CosmosValueError, match=r"'my project_test'.*the project's folder"):
        dag_of(project, render={"test_behavior": TestBehavior.AFTER_ALL})


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
        dag_of(
            project,
            render={"node_converters": {DbtResourceType.SEED: convert}, "test_behavior": TestBehavior.NONE},
        )
