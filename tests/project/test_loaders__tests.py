"""Tests that join the nodes they depend on."""

from __future__ import annotations

from pathlib import Path

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.project.graph import link
from cosmos_venv.project.node import DbtNode


def project(**depends_on: list[str]) -> dict[str, DbtNode]:
    """Nodes by id, of ``type_name=[ids of parents]`` where both parts of an id are short: ``model_a``."""
    nodes = {}
    for short, parents in depends_on.items():
        unique_id = full(short)
        nodes[unique_id] = DbtNode(
            unique_id, DbtResourceType(unique_id.partition(".")[0]), [full(each) for each in parents], Path(), Path("f")
        )
    return nodes


def full(short: str) -> str:
    kind, _, name = short.rpartition("_")
    return f"{kind}.shop.{name}"


def test_a_test_counts_for_each_of_its_parents_that_is_selected() -> None:
    nodes = project(model_a=[], test_both=["model_a", "model_b"])

    selection = link(nodes)

    assert list(selection.nodes) == ["model.shop.a", "test.shop.both"]
    assert selection.tests_per_model == {"model.shop.a": ["test.shop.both"]}
    assert selection.nodes["model.shop.a"].has_test
    assert selection.nodes["model.shop.a"].has_non_detached_test


def test_a_node_whose_tests_are_not_selected_has_none() -> None:
    assert not link(project(model_a=[])).nodes["model.shop.a"].has_test


def test_a_test_without_parents_and_a_unit_test_count_for_nothing() -> None:
    selection = link(project(model_a=[], test_lonely=[], unit_test_a=["model_a"]))

    assert list(selection.nodes) == ["model.shop.a", "test.shop.lonely", "unit_test.shop.a"]
    assert not selection.nodes["model.shop.a"].has_test


def test_downstream_are_the_selected_children_without_tests() -> None:
    nodes = project(seed_raw=[], model_a=["seed_raw", "model_gone"], test_t=["seed_raw"])

    assert link(nodes).nodes["seed.shop.raw"].downstream == ["model.shop.a"]
