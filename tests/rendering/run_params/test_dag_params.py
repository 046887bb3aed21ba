"""The params of a DAG whose runs may choose, and what cannot go with them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag, DbtTaskGroup
from cosmos_venv.compat import DAG
from cosmos_venv.config import ExecutionConfig, RenderConfig
from cosmos_venv.constants import DbtResourceType, ExecutionMode
from cosmos_venv.exceptions import CosmosValueError
from tests.rendering.recorded_project import RECORDED, copy_of_project, manifest_arguments

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_project(tmp_path / RECORDED.name)


def made(project: Path, params: dict[str, Any] | None = None, **more: Any) -> DbtDag:
    arguments = {**manifest_arguments(project), "run_params": True, **more}
    return DbtDag(dag_id="harbor", schedule=None, start_date=START, params=params, **arguments)


def test_a_dag_has_params_that_airflow_draws_as_a_form_and_that_a_schedule_leaves_empty(project: Path) -> None:
    dag = made(project, params={"mine": 1})

    assert dag.params.dump() == {"mine": 1, "select": None, "exclude": None, "full_refresh": False, "vars": None}
    kinds = {name: dag.params.get_param(name).schema.get("type") for name in dag.params}
    assert kinds == {
        "mine": None,
        "select": ["null", "string"],
        "exclude": ["null", "string"],
        "full_refresh": "boolean",
        "vars": ["null", "object"],
    }
    dag.params.validate()
    assert dag.get_task("dbt_select").downstream_task_ids >= {"dbt_select_done"}


def test_a_dag_has_none_of_them_unless_it_is_told(project: Path) -> None:
    dag = made(project, run_params=False)

    assert not dag.params.dump()
    assert "dbt_select" not in dag.task_ids


def test_a_param_of_the_dags_own_is_refused_with_the_way_out(project: Path) -> None:
    with pytest.raises(
        CosmosValueError, match=r"has a param 'select' of its own.*run_params=\{'select': 'dbt_select'\}"
    ):
        made(project, params={"select": "x"})

    dag = made(project, params={"select": "x"}, run_params={"select": "dbt_select", "vars": None})
    assert dag.params.dump() == {"select": "x", "dbt_select": None, "exclude": None, "full_refresh": False}


def test_a_dag_whose_runs_only_say_how_nodes_run_has_the_tasks_of_a_dag_without_params(project: Path) -> None:
    dag = made(project, run_params={"select": None, "exclude": None})

    assert dag.params.dump() == {"full_refresh": False, "vars": None}
    assert set(dag.task_ids) == set(made(project, run_params=False).task_ids)


def test_groups_share_the_params_of_their_dag(project: Path) -> None:
    arguments = manifest_arguments(project)
    with DAG("ours", schedule=None, start_date=START) as dag:
        for group_id in ("one", "two"):
            DbtTaskGroup(group_id, **arguments, run_params=True)

    assert [*dag.params] == ["select", "exclude", "full_refresh", "vars"]
    task: Any = next(task for task in dag.tasks if task.task_id.startswith("two.") and task.task_id.endswith(".test"))
    assert task.run_params["task_id"] == "two.dbt_select"
    assert task.trigger_rule == "none_failed"


@pytest.mark.parametrize("where", ["default_args", "operator_args"])
def test_a_users_own_trigger_rule_stays(project: Path, where: str) -> None:
    dag = made(project, **{where: {"trigger_rule": "all_done"}})

    rules = {task.trigger_rule for task in dag.tasks if task.task_id.endswith(".run")}
    assert {str(getattr(rule, "value", rule)) for rule in rules} == {"all_done"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"execution_config": ExecutionConfig(ExecutionMode.WATCHER)},
            "ExecutionMode.WATCHER: .* Use ExecutionMode.LOCAL",
        ),
        (
            {"render_config": RenderConfig(node_converters={DbtResourceType.MODEL: print})},
            "RenderConfig.node_converters: ",
        ),
    ],
    ids=["watcher", "converters"],
)
def test_what_would_run_whatever_is_chosen_is_refused(project: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=f"run_params does not go with .*{words}"):
        made(project, **more)
