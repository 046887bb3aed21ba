"""Does another way of loading give what Cosmos was seen to make of the same project? See tests/data/README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rendering.test_plan_cases import CASES, attributes, make_plan, operator_path

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
