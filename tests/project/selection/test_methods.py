"""Methods for what the probing project has not, and what is refused."""

from __future__ import annotations

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node_entry import DependsOn, NodeEntry
from cosmos_venv.project.selection.evaluate import evaluate, from_lists
from cosmos_venv.project.selection.graph import SelectionGraph


def entry(resource_type: str, name: str, *parents: str, package: str = "shop", **more: object) -> NodeEntry:
    made = NodeEntry(
        resource_type=resource_type,
        package_name=package,
        name=name,
        fqn=[package, name],
        depends_on=DependsOn(nodes=list(parents)),
    )
    for key, value in more.items():
        setattr(made, key, value)
    return made


ENTRIES = {
    "model.shop.orders": entry("model", "orders", original_file_path="models\\core\\orders.sql"),
    "model.shop.texts.vb": entry("model", "texts", version="b", latest_version="c", fqn=["shop", "texts", "vb"]),
    "semantic_model.shop.orders": entry("semantic_model", "orders", "model.shop.orders"),
    "metric.shop.revenue": entry(
        "metric", "revenue", "semantic_model.shop.orders", config={"group": "money"}, tags=["kpi"]
    ),
    "saved_query.shop.weekly": entry("saved_query", "weekly", "metric.shop.revenue", config={"group": "money"}),
    "function.shop.cents": entry("function", "cents", "model.shop.off", "model.elsewhere.gone"),
    "model.shop.bare": NodeEntry(resource_type="model", package_name="shop", original_file_path="models/bare.sql"),
    "unit_test.shop.texts.adds_up_v2": entry("unit_test", "adds_up_v2", version="b", fqn=["shop", "fin", "adds_up_v2"]),
    "model.shop.first": entry(
        "model",
        "first",
        version=0,
        latest_version=1,
        fqn=["shop", "first", "v0"],
        config={"materialized": "Metric_View"},
    ),
    "unit_test.shop.orders.adds_up": entry("unit_test", "adds_up", "model.shop.orders", config={"tags": "slow"}),
}


def selected(*items: str) -> list[str]:
    return sorted(evaluate(SelectionGraph(ENTRIES, project_name="shop"), from_lists(items, [])))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("metric:revenue", ["metric.shop.revenue"]),
        ("metric:shop.rev*", ["metric.shop.revenue"]),
        ("metric:elsewhere.revenue", []),
        ("semantic_model:orders", ["semantic_model.shop.orders"]),
        ("saved_query:weekly", ["saved_query.shop.weekly"]),
        ("resource_type:function", ["function.shop.cents"]),
        ("exclude_resource_type:model,path:models", ["unit_test.shop.orders.adds_up"]),
        ("resource_type:semantic_metric_view", ["model.shop.first"]),
        ("exclude_resource_type:unit_test,tag:k?i", ["metric.shop.revenue"]),
        ("group:money", ["metric.shop.revenue"]),  # of saved queries dbt asks no group
        ("tag:k?i", ["metric.shop.revenue"]),
        ("tag:slow", ["unit_test.shop.orders.adds_up"]),
        ("unit_test:adds_*", ["unit_test.shop.orders.adds_up", "unit_test.shop.texts.adds_up_v2"]),
        ("off", []),
        ("+function:", None),
        ("+cents", ["function.shop.cents"]),  # its parents are disabled, or of another project
        ("models/core", ["model.shop.orders", "unit_test.shop.orders.adds_up"]),
        ("version:old", ["model.shop.texts.vb"]),
        ("adds_up_v2", ["unit_test.shop.texts.adds_up_v2"]),
        ("adds_up_*", ["unit_test.shop.texts.adds_up_v2"]),
        ("fin_v2", []),
        ("bare", ["model.shop.bare"]),
        (
            "no*here.texts.vb",
            [
                "model.shop.texts.vb",
            ],
        ),
        (
            "1+metric:revenue+",
            ["metric.shop.revenue", "saved_query.shop.weekly", "semantic_model.shop.orders"],
        ),
    ],
)
def test_a_method_finds_what_it_is_for(item: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(CosmosValueError, match="is none of dbt's methods"):
            selected(item)
        return
    assert selected(item) == expected


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("bogus:x", "selection item 'bogus:x': 'bogus' is none of dbt's methods. Known are: access, config"),
        ("state:modified", "'state:modified': state compares with the artifacts of another run"),
        ("resource_type:MODEL", "'MODEL' is no resource type. dbt knows: analysis, .*seed, semantic_model, snapshot"),
        ("exclude_resource_type:nope", "'nope' is no resource type. dbt knows: analysis"),
        ("source:a.b.c.d", "write source, source.table or package.source.table"),
        ("exposure:a.b.c", "write the name of the exposure, or package.name"),
        ("test_type:x", "'x' is no type of tests. dbt knows: generic"),
        ("version:1", "'1' is none of what dbt knows of versions: latest, prerelease, old, none"),
        ("path:/somewhere", "the path is absolute: name it relative to the project's folder"),
        ("path:.", "the path is empty"),
        ("tag:x\n", "has a line break in it"),
    ],
)
def test_what_dbt_refuses_is_refused_with_the_way_out(item: str, message: str) -> None:
    with pytest.raises(CosmosValueError, match=message):
        selected(item)


def test_the_method_of_cosmos_is_named_in_dbts_own_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        selected("exclude_resource_type:seed")

    assert (
        "'exclude_resource_type:seed' is a method of Cosmos. dbt's words: exclude=['resource_type:seed']" in caplog.text
    )


@pytest.mark.parametrize("item", ["", "+", "++orders", "orders++", "x+y", ",", "a,,orders", "-1+orders"])
def test_nothing_malformed_selects_everything(item: str) -> None:
    assert selected(item) == []
