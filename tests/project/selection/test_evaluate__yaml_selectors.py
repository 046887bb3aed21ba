"""YAML selectors, as dbt writes them into a manifest and as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node_entry import DependsOn, NodeEntry
from cosmos_venv.project.selection.evaluate import Definitions, evaluate
from cosmos_venv.project.selection.graph import SelectionGraph

TAGS = {"a": ["x"], "b": ["x", "y"], "c": ["y", "z"], "d": []}
READS = {"b": ["a"], "c": ["b"], "d": ["c"]}


@pytest.fixture(scope="module")
def graph() -> SelectionGraph:
    return SelectionGraph(
        {
            f"model.shop.{name}": NodeEntry(
                resource_type="model",
                package_name="shop",
                fqn=["shop", name],
                tags=tags,
                depends_on=DependsOn(nodes=[f"model.shop.{parent}" for parent in READS.get(name, [])]),
                config={"meta": {"active": name == "a", "rank": 3}},
            )
            for name, tags in TAGS.items()
        },
        project_name="shop",
    )


def tag(value: Any, **more: Any) -> dict[str, Any]:
    return {"method": "tag", "value": value, **more}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("tag:x", "ab"),
        ("tag:x+1", "abc"),
        ({"tag": "x"}, "ab"),
        (tag("x"), "ab"),
        (tag("y", parents=True), "abc"),
        (tag("z", parents=True, parents_depth=1), "bc"),
        (tag("z", parents=True, parents_depth="1"), "bc"),
        (tag("z", parents=True, parents_depth=0), "abc"),
        (tag("z", parents=True, parents_depth=-2), "c"),
        (tag("z", parents="false"), "abc"),
        (tag("z", parents_depth=1), "c"),
        (tag("z", childrens_parents=True), "abcd"),
        (tag("x", childrens_parents=True, children_depth=1), "abcd"),
        (tag("x,y"), ""),
        ({"method": "config.meta.active", "value": True}, "a"),
        ({"method": "config.meta.active", "value": "FALSE"}, "bcd"),
        ({"method": "config.meta.rank", "value": 3}, "abcd"),
        ({"method": "config.meta.rank", "value": "3"}, ""),
        ({"method": "fqn", "value": "*", "children": True}, "abcd"),
        (tag("x", exclude=[tag("y")]), "a"),
        (tag("x", exclude=["tag:y"]), "a"),
        (tag("x", exclude=[]), "ab"),
        ({"union": []}, ""),
        ({"intersection": []}, ""),
        ({"union": ["tag:z", tag("x")]}, "abc"),
        ({"intersection": [tag("x"), tag("y")]}, "b"),
        ({"union": [tag("x"), tag("z"), {"exclude": [tag("y")]}]}, "a"),
        ({"union": [{"exclude": [tag("y")]}]}, ""),
        ({"intersection": [{"union": [tag("x"), tag("z")]}, tag("y")]}, "bc"),
        ({"union": [{"union": [tag("x"), {"exclude": [tag("y")]}]}, tag("z")]}, "ac"),
        ({"union": [tag("x"), {"exclude": [{"intersection": [tag("x"), tag("y")]}]}]}, "a"),
        # A reference, as dbt writes it.
        ({"union": [tag("x", exclude=[tag("y")]), tag("z")]}, "ac"),
        ({"union": [{"exclude": []}, tag("x"), {"exclude": [tag("y")]}]}, "a"),
        # dbt takes an item with an exclude for the group's exclude, whatever else the item says.
        ({"union": [tag("x", exclude=[tag("a")]), tag("z")]}, "c"),
        ({"method": "selector", "value": "both"}, "b"),
        ({"union": [{"method": "selector", "value": "both"}, tag("z")]}, "bc"),
    ],
)
def test_a_definition_is_evaluated_as_a_tree(graph: SelectionGraph, definition: Any, expected: str) -> None:
    definitions = Definitions(
        {
            "asked": definition,
            "both": {"intersection": ["tag:x", "tag:y"]},
            "x-without-y": tag("x", exclude=[tag("y")]),
        }
    )

    assert evaluate(graph, definitions.tree("asked")) == {f"model.shop.{name}" for name in expected}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        # The exclude of a group, as dbt 2 writes it.
        ({"intersection": [{"union": [tag("x"), tag("z")]}, {"exclude": tag("y")}]}, "a"),
        ({"intersection": [tag("y"), {"exclude": {"union": [tag("x"), tag("z")]}}]}, ""),
        ({"union": [{"intersection": [{"union": [tag("x")]}, {"exclude": tag("y")}]}, tag("z")]}, "ac"),
        # An item's own.
        ({"union": [tag("y", exclude=[tag("x")]), tag("x")]}, "abc"),
        (tag("x", exclude=[tag("y")]), "a"),
        (tag("z", parents=True, parents_depth="1"), "bc"),
    ],
)
def test_a_definition_of_dbt_2_is_evaluated_as_dbt_2_means_it(
    graph: SelectionGraph, definition: Any, expected: str
) -> None:
    definitions = Definitions({"asked": definition}, is_of_dbt_2=True)

    assert evaluate(graph, definitions.tree("asked")) == {f"model.shop.{name}" for name in expected}


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"union": [], "intersection": []}, "beside union or intersection nothing else may stand"),
        ({"union": [], "method": "tag"}, "beside union or intersection nothing else may stand"),
        ({"union": tag("x")}, "union is {'method': 'tag', 'value': 'x'}: write a list"),
        ({"union": [{1: 2}]}, "'1' is none of dbt's methods"),
        ({"union": [["tag:x"]]}, r"\['tag:x'\] is neither a text nor a mapping"),
        ({"exclude": ["tag:x"]}, "exclude stands alone: dbt's manifest has lost the method"),
        ({"method": "tag"}, "'method' is none of dbt's methods"),
        ({"method": "tag", "exclude": []}, "needs one key, or method and value"),
        ({}, "needs one key, or method and value"),
        (None, "None is neither a text nor a mapping"),
        (5, "5 is neither a text nor a mapping"),
        ({"method": "kind", "value": "test"}, "'kind' is none of dbt's methods"),
        (tag("x", parents=True, parents_depth="two"), "parents_depth is 'two', no number"),
        (tag("x", children=True, childrens_parents=True), "childrens_parents and children"),
        (tag("x", indirect_selection="all"), "indirect_selection is 'all', not one of eager, cautious"),
        (tag("x", exclude=tag("y")), "exclude is .*: write a list"),
        ({"union": [tag("x"), {"exclude": ["tag:y"]}, {"exclude": ["tag:z"]}]}, "more than one exclude"),
        ({"method": "selector", "value": "gone"}, "selector 'gone' is not defined. The manifest has: asked, other"),
        ({"method": "selector", "value": "other"}, "selector 'asked' refers to itself: asked -> other -> asked"),
        ("@tag:x+", "has an @ before and a [+] behind"),
        ("1+exclude_resource_type:seed", "'1[+]exclude_resource_type:seed' has words of Cosmos, and dbt evaluates"),
        ({"exclude_resource_type": "seed"}, "dbt's own: exclude with resource_type:seed"),
        (tag("x", exclude=[{"exclude_resource_type": "seed"}]), "has words of Cosmos"),
        ({"method": "resource_type", "value": "semantic_metric_view"}, "or select config.materialized:metric_view"),
    ],
)
def test_what_dbt_would_refuse_is_refused_with_the_selectors_name(definition: Any, message: str) -> None:
    definitions = Definitions({"asked": definition, "other": {"method": "selector", "value": "asked"}})

    with pytest.raises(CosmosValueError, match=message) as refused:
        definitions.tree("asked")
    assert "'asked'" in str(refused.value)


@pytest.mark.parametrize("value", [5, True, ["x", "y"], None])
def test_a_value_that_is_no_text_is_refused_by_its_item(graph: SelectionGraph, value: Any) -> None:
    tree = Definitions({"asked": tag(value)}).tree("asked")

    with pytest.raises(CosmosValueError, match=r"selection item \{'method': 'tag'.*is no text\. Put it in quotes"):
        evaluate(graph, tree)
