"""The parents of nodes where some of them are not there."""

from __future__ import annotations

from cosmos_venv.project.node_entry import DependsOn, NodeEntry
from cosmos_venv.project.selection.graph import Relations


def entry(unique_id: str, *parents: str) -> NodeEntry:
    resource_type, package, name = unique_id.split(".")
    return NodeEntry(
        resource_type=resource_type, package_name=package, fqn=[package, name], depends_on=DependsOn(nodes=[*parents])
    )


ENTRIES = {
    "source.shop.raw": NodeEntry(resource_type="source"),
    "model.shop.a": entry("model.shop.a", "source.shop.raw", "model.elsewhere.gone"),
    "model.shop.b": entry("model.shop.b", "model.shop.a", "model.shop.a"),
    "test.shop.of_a": entry("test.shop.of_a", "model.shop.a"),
    "test.shop.of_a_and_gone": entry("test.shop.of_a_and_gone", "model.shop.a", "model.elsewhere.gone"),
}


def test_a_parent_that_is_not_there_is_passed_over_on_the_way_up_and_down() -> None:
    relations = Relations(ENTRIES)

    assert relations.ancestors({"model.shop.b"}) == {"model.shop.a", "source.shop.raw"}
    assert relations.descendants({"model.shop.a"}, 1) == {"model.shop.b", "test.shop.of_a", "test.shop.of_a_and_gone"}
