"""Which groups the folders of a project become."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import TestBehavior
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.rendering.model import PlannedGroup
from cosmos_venv.rendering.plan_graph import FolderGroups
from cosmos_venv.rendering.task_arguments import PlanningSettings
from tests.rendering.made import node, planned

GROUPING = RenderConfig(group_nodes_by_folder=True)
BY_PATH = PlanningSettings(groups_by_path=True)
FOLDERS = [Path(each) for each in ("models/staging/geo/deep", "models/marts/geo", "seeds", ".")]


def test_by_its_name_the_first_folder_takes_in_what_is_in_the_others() -> None:
    folders = FolderGroups(FOLDERS, by_path=False)

    assert folders.parents == {
        "models": None,
        "models.marts": "models",
        "models.marts.geo": "models.marts",
        "models.staging": "models",
        "models.marts.geo.deep": "models.marts.geo",
        "seeds": None,
    }
    assert folders.group_of(Path("models/staging/geo/deep")) == "models.marts.geo.deep"
    assert folders.group_of(Path()) is None


def test_by_its_path_each_folder_has_a_group() -> None:
    folders = FolderGroups(FOLDERS, by_path=True)

    assert folders.group_of(Path("models/staging/geo/deep")) == "models.staging.geo.deep"
    assert folders.parents["models.staging.geo"] == "models.staging"


def test_a_folder_inside_one_of_its_own_name_is_taken_in_or_stands_apart() -> None:
    folder = Path("models/geo/models/geo")

    assert FolderGroups([folder], by_path=False).group_of(folder) == "models.geo"
    assert FolderGroups([folder], by_path=True).group_of(folder) == "models.geo.models.geo"


def test_what_airflow_takes_in_no_id_becomes_an_underscore() -> None:
    folder = Path("models/v1.0 (new)/Übersicht")

    assert FolderGroups([folder], by_path=False).group_of(folder) == "models.v1_0__new_.Übersicht"


def test_a_nodes_own_group_stands_in_that_of_its_folder() -> None:
    made = planned(
        node("model.shop.orders", file="models/marts/orders.sql"),
        node("test.shop.t.1", "model.shop.orders", file="models/marts/schema.yml"),
        node("model.shop.top", file="top.sql"),
        render=GROUPING,
    )

    assert made.groups == (
        PlannedGroup(group_id="models", label="models", parent=None),
        PlannedGroup(group_id="models.marts", label="marts", parent="models"),
        PlannedGroup(group_id="models.marts.orders", label="orders", parent="models.marts"),
    )
    places = {task.task_id: (task.label, task.group, task.folder) for task in made.tasks}
    assert places == {
        "models.marts.orders.run": ("run", "models.marts.orders", "models.marts"),
        "models.marts.orders.test": ("test", "models.marts.orders", "models.marts"),
        "top_run": ("top_run", None, None),
    }


def test_a_detached_test_stands_in_the_folder_of_its_own_file() -> None:
    made = planned(
        node("model.shop.a", file="models/a.sql"),
        node("model.shop.b", file="models/b.sql"),
        node("test.shop.both", "model.shop.a", "model.shop.b", file="tests/deep/both.sql"),
        node("exposure.shop.last", file="models/other/exposures.yml"),
        render=RenderConfig(group_nodes_by_folder=True, should_detach_multiple_parents_tests=True),
        settings=BY_PATH,
    )

    assert made.tasks_map["test.shop.both"] == "tests.deep.both_test"
    assert "models.other" in {group.group_id for group in made.groups}


def test_the_test_of_all_stands_at_the_root() -> None:
    made = planned(
        node("model.shop.a"),
        render=RenderConfig(group_nodes_by_folder=True, test_behavior=TestBehavior.AFTER_ALL),
    )

    assert [(task.task_id, task.group) for task in made.tasks] == [("models.a_run", "models"), ("shop_test", None)]
    assert made.edges == (("models.a_run", "shop_test"),)


def test_a_folder_and_a_node_with_tests_of_one_id_are_refused() -> None:
    with pytest.raises(CosmosLoadDbtException, match=r"the folder models\.orders and model\.shop\.orders would both"):
        planned(
            node("model.shop.orders"),
            node("test.shop.t.1", "model.shop.orders"),
            node("model.shop.other", file="models/orders/other.sql"),
            render=GROUPING,
        )
