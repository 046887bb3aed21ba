"""A node that dbt cannot select alone is named in a warning."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import DbtResourceType, SourceRenderingBehavior
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.selectors import exact_selectors
from tests.rendering.made import node, planned


def source(schema: str, table: str, package: str = "shop") -> DbtNode:
    return DbtNode(
        f"source.{package}.{schema}.{table}",
        DbtResourceType.SOURCE,
        [],
        Path("/srv/shop"),
        Path("models/staging/sources.yml"),
        package_name=package,
        fqn=[package, "staging", schema, table],
    )


def warnings_of(caplog: pytest.LogCaptureFixture, *nodes: DbtNode) -> list[str]:
    render = RenderConfig(
        source_rendering_behavior=SourceRenderingBehavior.ALL,
        normalize_task_id=lambda each: each.unique_id.replace(" ", "_"),
    )
    planned(*nodes, render=render)
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_sources_that_differ_in_a_dot_alone_are_named(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(
        caplog, source("crm.v2", "accounts"), source("crm_v2", "accounts"), source("erp", "accounts")
    ) == [
        "dbt cannot select source.shop.crm.v2.accounts alone: 'source:shop.crm?v2.accounts' also selects "
        "source.shop.crm_v2.accounts. Give one of them another name, without a dot or a space, or a file of another "
        "name."
    ]


def test_sources_of_two_packages_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    assert not warnings_of(caplog, source("crm.v2", "accounts"), source("crm_v2", "accounts", package="fleet"))


def test_models_that_differ_in_a_space_alone_are_named(caplog: pytest.LogCaptureFixture) -> None:
    (told,) = warnings_of(caplog, node("model.shop.my model"), node("model.shop.my-model"))

    assert "dbt cannot select model.shop.my model alone" in told
    assert "also selects model.shop.my-model" in told


@pytest.mark.parametrize("kind", [DbtResourceType.MODEL, DbtResourceType.SEMANTIC_METRIC_VIEW])
def test_a_version_is_told_from_the_model_whose_folder_and_name_dbt_takes_for_it(kind: DbtResourceType) -> None:
    """dbt takes the last two parts of a text for a version's, joined by a dot or an underscore, in any package."""
    nodes = [
        made("model.shop.stg_orders.v2", ["shop", "stg_orders", "v2"], "models/stg_orders_v2.sql"),
        made("model.shop.orders_v2", ["shop", "stg", "orders_v2"], "models/stg/orders_v2.sql"),
        made("model.fleet.stg_orders.v2", ["fleet", "deep", "stg_orders", "v2"], "models/deep/stg_orders_v2.sql"),
    ]

    nodes = [dataclasses.replace(each, resource_type=kind) for each in nodes]

    texts, ambiguous = exact_selectors(nodes, nodes, may_hide=False)

    assert texts == {
        "model.shop.stg_orders.v2": "fqn:shop.stg_orders.v2,package:shop",
        "model.shop.orders_v2": "fqn:shop.stg.orders_v2,file:orders_v2.sql",
        "model.fleet.stg_orders.v2": "fqn:fleet.deep.stg_orders.v2,package:fleet",
    }
    assert ambiguous == {}


def made(unique_id: str, fqn: list[str], file: str) -> DbtNode:
    package = unique_id.split(".")[1]
    return DbtNode(unique_id, DbtResourceType.MODEL, [], Path("/srv/shop"), Path(file), package_name=package, fqn=fqn)


def test_a_test_whose_name_begins_another_is_told_by_the_node_that_it_reads() -> None:
    """dbt takes `fqn:shop.positive_orders` for the test `positive_orders.daily` of another model too."""

    def generic(name: str, model: str) -> DbtNode:
        return DbtNode(
            f"test.shop.{name}.0123456789",
            DbtResourceType.TEST,
            [model],
            Path("/srv/shop"),
            Path("models/schema.yml"),
            fqn=["shop", name],
        )

    nodes = [
        node("model.shop.orders"),
        node("model.shop.orders.daily"),
        generic("positive_orders", "model.shop.orders"),
        generic("positive_orders.daily", "model.shop.orders.daily"),
    ]

    texts, ambiguous = exact_selectors(nodes, nodes, may_hide=False)

    assert texts["test.shop.positive_orders.0123456789"] == (
        "fqn:shop.positive_orders,fqn:shop.orders+1,file:orders.sql+1"
    )
    assert texts["test.shop.positive_orders.daily.0123456789"] == "fqn:shop.positive_orders.daily"
    assert ambiguous == {}
