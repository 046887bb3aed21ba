"""What the answers of a ``freshness_callback`` come to."""

from __future__ import annotations

import pytest

from cosmos_venv.operators.watch.freshness import outcomes_of

SOURCE, ORDERS, LINES = "source.shop.raw.orders", "model.shop.orders", "model.shop.lines"
UNIQUE, SAME = "test.shop.unique_orders.1", "unit_test.shop.lines.same"
TESTS = [(UNIQUE, [ORDERS]), (SAME, [LINES])]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({ORDERS: "skipped"}, {ORDERS: "skipped", UNIQUE: "skipped"}, id="a-node-and-its-test"),
        pytest.param({ORDERS: "fail"}, {ORDERS: "error", UNIQUE: "skipped"}, id="a-failed-node"),
        pytest.param({UNIQUE: "skipped"}, {UNIQUE: "skipped"}, id="a-test"),
        pytest.param({ORDERS: "success", LINES: "pass"}, {}, id="dbt-builds-what-is-called-a-success"),
        pytest.param({SOURCE: "pass"}, {SOURCE: "pass"}, id="a-source-is-not-built"),
        pytest.param({SOURCE: "skipped"}, {SOURCE: "skipped"}, id="tests-of-a-source-run"),
        pytest.param({"model.shop.other": "skipped"}, {}, id="no-node-of-the-producer"),
    ],
)
def test_what_a_callback_says_of_nodes(answers: dict[str, str], expected: dict[str, str]) -> None:
    found = outcomes_of(answers, [*TESTS, ("test.shop.loaded.1", [SOURCE])], [ORDERS, LINES, UNIQUE, SAME])

    assert {each: outcome.status for each, outcome in found.items()} == expected
