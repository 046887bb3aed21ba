"""Does another way of loading give what Cosmos was seen to make of the same project? See tests/data/README.md."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.rendering.test_plan_cases import CASES, PROJECT, attributes, make_plan, operator_path

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.load import DbtGraph

BY_NAME: dict[str, dict[str, Any]] = {case["name"]: case for case in CASES}


@pytest.mark.parametrize("name", ["load_ls_file", "load_ls_file_no_tests"])
def test_a_file_of_dbt_ls_gives_the_recorded_plan(name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]

    made = make_plan(case, tmp_path)

    recorded = case["result"]
    assert sorted(task.task_id for task in made.tasks) == recorded["task_ids"]
    assert sorted(made.groups) == recorded["group_ids"]
    assert [list(edge) for edge in made.edges] == recorded["edges"]
    assert made.tasks_map == recorded["tasks_map"]
    assert {task.task_id: operator_path(task) for task in made.tasks} == recorded["operators"]
    assert {task.task_id: attributes(task, case["config"]) for task in made.tasks} == recorded["attributes"]


@pytest.mark.parametrize("name", ["load_ls_file_absent"])
def test_what_cannot_be_loaded_is_refused_as_recorded(name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]

    with pytest.raises(Exception) as refusal:  # noqa: PT011 - the type is the case's, compared below
        make_plan(case, tmp_path)

    assert type(refusal.value).__name__ == case["result"]["error"]["type"]


def test_a_project_without_a_path_in_its_own_configuration_is_loaded_all_the_same(tmp_path: Path) -> None:
    """Cosmos ends in an AttributeError here: the class lacks a name that was not given."""
    case = BY_NAME["after_all_render_and_execution_paths"]

    made = make_plan(case, tmp_path)

    recorded = BY_NAME["load_ls_file"]["result"]
    runs = {task for task in recorded["operators"] if not task.endswith(".test")}
    assert {task.task_id.rpartition("_")[0] for task in made.tasks} == {
        "rendering-project",
        *(task.replace(".", "_").rpartition("_")[0] for task in runs),
    }
    assert made.tasks[-1].task_id == "rendering-project_test"


CUSTOM_BESIDE_DBT_LS = {
    "load_custom": "load_ls_file",
    "load_custom_no_tests": "load_ls_file_no_tests",
}
"""Cosmos's parser of files is recorded without what it cannot see; here it is held to what dbt ls gives."""

SEEN_BY_COSMOS_ONLY = {"legacy_report_run"}  # a model that is disabled
NOT_SEEN_BY_COSMOS = {"snap_vessels_snapshot"}  # one that YAML makes


@pytest.mark.filterwarnings("ignore:LoadMode.CUSTOM:DeprecationWarning")
@pytest.mark.parametrize(("name", "beside"), CUSTOM_BESIDE_DBT_LS.items(), ids=list(CUSTOM_BESIDE_DBT_LS))
def test_the_files_of_a_project_give_the_plan_that_dbt_ls_gives(name: str, beside: str, tmp_path: Path) -> None:
    made = make_plan(BY_NAME[name], tmp_path)

    recorded = BY_NAME[beside]["result"]
    assert sorted(task.task_id for task in made.tasks) == recorded["task_ids"]
    assert sorted(made.groups) == recorded["group_ids"]
    assert [list(edge) for edge in made.edges] == recorded["edges"]
    assert made.tasks_map == recorded["tasks_map"]  # by dbt's ids, where Cosmos has bare names
    assert {task.task_id: operator_path(task) for task in made.tasks} == recorded["operators"]


@pytest.mark.filterwarnings("ignore:LoadMode.CUSTOM:DeprecationWarning")
@pytest.mark.parametrize("name", ["load_custom_no_tests", "load_custom_after_all"])
def test_the_files_of_a_project_give_what_cosmos_sees_in_them(name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]

    made = {task.task_id for task in make_plan(case, tmp_path).tasks}

    assert made == set(case["result"]["task_ids"]) - SEEN_BY_COSMOS_ONLY | NOT_SEEN_BY_COSMOS


@pytest.mark.filterwarnings("ignore:LoadMode.CUSTOM:DeprecationWarning")
def test_a_selection_of_files_is_dbts_tests_and_all(tmp_path: Path) -> None:
    case = BY_NAME["load_custom_selected"]

    made = make_plan(case, tmp_path)

    runs = {task.node_id for task in made.tasks if not task.task_id.endswith(".test")}
    assert {str(node).split(".", 2)[2] for node in runs} == {
        *("fleet_summary", "geo_rollup", "port_calls", "voyages.v1", "voyages.v2")
    }


@pytest.mark.filterwarnings("ignore:LoadMode.CUSTOM:DeprecationWarning")
def test_tests_of_the_older_way_to_write_them_are_seen(tmp_path: Path) -> None:
    """The case has a file more, which the recorded project gets for it."""
    case = BY_NAME["load_custom_old_style_tests"]
    project = tmp_path / PROJECT.name
    shutil.copytree(PROJECT, project)
    (project / "models" / "staging" / "schema.yml").unlink()
    for name, text in case["config"]["files"].items():
        (project / name).write_text(text)
    render = RenderConfig(load_method=LoadMode.CUSTOM, select=["stg_ports"])
    graph = DbtGraph(project=ProjectConfig(project), render_config=render)

    graph.load()

    assert sorted(graph.tests_per_model["model.harbor_ops.stg_ports"])[-1].startswith(
        "test.harbor_ops.unique_stg_ports"
    )
    assert graph.nodes["model.harbor_ops.stg_ports"].tags == ["staging", "t1"]


def test_a_yaml_selector_is_refused_where_files_are_read(tmp_path: Path) -> None:
    case = BY_NAME["load_custom_selector_refused"]

    with pytest.raises(CosmosLoadDbtException, match=r"selector='only_marts' does not go with LoadMode\.CUSTOM"):
        make_plan(case, tmp_path)
