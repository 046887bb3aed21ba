"""The properties of a node."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.node import DbtNode


def node(unique_id: str = "model.shop.orders", **config: Any) -> DbtNode:
    return DbtNode(
        unique_id=unique_id,
        resource_type=DbtResourceType(unique_id.split(".", maxsplit=1)[0]),
        depends_on=["seed.shop.raw"],
        path_base=Path("/srv/shop"),
        original_file_path=Path("models/orders.sql"),
        config=config,
    )


@pytest.mark.parametrize(
    ("unique_id", "resource_name", "name"),
    [
        ("model.shop.orders", "orders", "orders"),
        ("model.shop.orders.v2", "orders.v2", "orders_v2"),
        ("source.shop.raw.orders", "raw.orders", "raw_orders"),
        ("test.shop.unique_orders_id.4ede83ad9b", "unique_orders_id.4ede83ad9b", "unique_orders_id_4ede83ad9b"),
    ],
)
def test_the_names_come_from_the_id_after_its_second_dot(unique_id: str, resource_name: str, name: str) -> None:
    assert (node(unique_id).resource_name, node(unique_id).name) == (resource_name, name)


@pytest.mark.parametrize("unique_id", ["model.shop", "model..orders", "model.shop."])
def test_an_id_without_three_parts_is_refused(unique_id: str) -> None:
    with pytest.raises(ValueError, match=r"is not <type>\.<package>\.<name>"):
        _ = node(unique_id).resource_name


@pytest.mark.parametrize(("materialized", "expected"), [("ephemeral", True), ("EPHEMERAL", True), ("view", False)])
def test_ephemeral_is_told_in_any_letter_case(materialized: str, expected: bool) -> None:
    assert node(materialized=materialized).has_ephemeral_materialization is expected


@pytest.mark.parametrize(
    ("meta", "expected"), [({"owner": "ops"}, "ops"), ({"owner": ["a", "b"]}, "['a', 'b']"), ({}, ""), (None, "")]
)
def test_the_owner_is_text(meta: dict[str, Any] | None, expected: str) -> None:
    assert node(meta=meta).owner == expected


def test_a_node_may_change_the_arguments_and_the_profile_of_its_task() -> None:
    own = node(meta={"cosmos": {"operator_kwargs": {"pool": "p"}, "profile_config": {"target_name": "prod"}}})

    assert own.operator_kwargs_to_override == {"pool": "p"}
    assert own.profile_config_to_override == {"target_name": "prod"}


@pytest.mark.parametrize(
    ("meta", "key"),
    [
        pytest.param("x", r"config\.meta is 'x', a str", id="meta"),
        pytest.param({"cosmos": ["x"]}, r"config\.meta\.cosmos is \['x'\], a list", id="cosmos"),
        pytest.param({"cosmos": {"operator_kwargs": 3}}, r"config\.meta\.cosmos\.operator_kwargs is 3", id="kwargs"),
    ],
)
def test_metadata_that_is_no_mapping_is_refused_with_node_key_and_file(meta: object, key: str) -> None:
    with pytest.raises(CosmosLoadDbtException, match=rf"model\.shop\.orders: {key}.*in models/orders\.sql"):
        _ = node(meta=meta).operator_kwargs_to_override


def test_the_context_is_plain_data() -> None:
    context = node(materialized="view").context_dict

    assert json.loads(json.dumps(context)) == context
    assert context["file_path"] == "/srv/shop/models/orders.sql"
    assert context["checksum"] is None


def test_a_node_can_be_copied_changed_and_pickled_before_and_after_its_names_were_asked_for() -> None:
    fresh = node()
    copies = [copy.copy(fresh), copy.deepcopy(fresh), pickle.loads(pickle.dumps(fresh))]  # noqa: S301 - written here

    assert fresh.context_dict["name"] == "orders"

    copies += [copy.copy(fresh), pickle.loads(pickle.dumps(fresh))]  # noqa: S301 - as above
    changed = msgspec.structs.replace(fresh, unique_id="model.shop.lines")
    assert copies == [fresh] * len(copies)
    assert changed.context_dict["name"] == "lines"
