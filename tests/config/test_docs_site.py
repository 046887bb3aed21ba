"""The addresses of pages in dbt docs."""

from __future__ import annotations

import pytest

from cosmos_venv.config.docs_site import docs_url


@pytest.mark.parametrize(
    ("base", "unique_id", "expected"),
    [
        pytest.param(
            "https://docs.example/shop/",
            "model.shop.orders.v2",
            "https://docs.example/shop/#!/model/model.shop.orders.v2",
            id="folder",
        ),
        pytest.param(
            "https://docs.example/index.html?a=1#!/overview",
            "source.shop.raw.orders",
            "https://docs.example/index.html?a=1#!/source/source.shop.raw.orders",
            id="page-with-a-fragment",
        ),
        pytest.param("/dbt", "seed.shop.a b)>", "/dbt#!/seed/seed.shop.a%20b%29%3E", id="odd-characters"),
        pytest.param("/dbt", "function.shop.f", "/dbt#!/function/function.shop.f", id="function"),
        pytest.param("/dbt", "group.shop.f", "/dbt#!/overview", id="type-without-a-page"),
    ],
)
def test_a_node_has_its_page_behind_the_hash(base: str, unique_id: str, expected: str) -> None:
    assert docs_url(base, unique_id) == expected
