"""The nodes that dbt runs where it is told some of them by their texts."""

from __future__ import annotations

import pytest

from cosmos_venv.dbt.selection_texts import selected_with

TEXTS = {
    "orders": "fqn:shop.orders,file:orders.sql",
    "few": "fqn:shop.check,resource_type:test",
    "same": "fqn:shop.check,resource_type:test",
    "more": "fqn:shop.check,resource_type:test,fqn:shop.orders+1",
    "other": "fqn:shop.unique,resource_type:test",
}


@pytest.mark.parametrize(
    ("chosen", "run"),
    [
        ([], []),
        (["orders"], ["orders"]),
        (["few"], ["few", "same", "more"]),
        (["more"], ["more"]),
        (["other", "same"], ["few", "same", "more", "other"]),
    ],
)
def test_a_text_selects_the_nodes_with_its_criteria_and_more(chosen: list[str], run: list[str]) -> None:
    assert selected_with(chosen, TEXTS) == run
