"""The wishes of a run, of its params, and the ids in the output of dbt ls."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.run.run_request import RunRequest, choose, listed

NAMES = {
    "select": "nodes",
    "exclude": "exclude",
    "full_refresh": "full_refresh",
    "vars": "vars",
    "task_id": "dbt_select",
}


def request(**params: Any) -> RunRequest:
    return RunRequest.of(NAMES, {"params": params})


@pytest.mark.parametrize(
    ("params", "selects"),
    [({}, False), ({"nodes": " ", "exclude": None}, False), ({"nodes": "tag:a"}, True), ({"exclude": "tag:a"}, True)],
)
def test_a_run_selects_where_a_text_says_so(params: dict[str, Any], selects: bool) -> None:
    assert request(**params).selects is selects


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"day": 2}),
        ({"day": 1, "unit": "t"}, {"day": 2, "unit": "t"}),
        ("{day: 1, unit: t}", {"day": 2, "unit": "t"}),
    ],
)
def test_variables_of_a_run_go_over_those_of_the_task(given: Any, expected: dict[str, Any]) -> None:
    operator = SimpleNamespace(vars=given, own_parameters={})

    assert request(vars={"day": 2}, full_refresh=True).changes(operator) == {"vars": expected}


def test_variables_that_are_no_dict_are_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"vars='\[1\]': the vars of this run cannot go over it"):
        request(vars={"day": 2}).changes(SimpleNamespace(vars="[1]", own_parameters={}))


def test_only_commands_that_know_it_refresh() -> None:
    operator = SimpleNamespace(vars=None, own_parameters={"full_refresh": False})

    assert request(full_refresh=True).changes(operator) == {"full_refresh": True}
    assert request().changes(operator) == {}


@pytest.mark.parametrize("text", ["a --target prod", "-x", "a\n--vars"])
def test_a_word_that_dbt_may_take_for_a_flag_is_refused(text: str) -> None:
    with pytest.raises(CosmosValueError, match=r"exclude='.*-.*': the word '-.*' begins with a dash"):
        request(exclude=text)

    assert request(exclude="a-b path:x/-y").exclude == "a-b path:x/-y"


@pytest.mark.parametrize("word", ["exclude_resource_type:seed", "tag:a,resource_type:semantic_metric_view"])
def test_words_that_only_cosmos_has_are_refused_with_those_of_dbt(word: str) -> None:
    with pytest.raises(CosmosValueError, match=rf"select='tag:b .*': '{word}' has words of Cosmos.* exclude with res"):
        request(nodes=f"tag:b {word}")


def test_ids_are_those_of_lines_that_are_nodes_with_a_log_as_text_and_as_json() -> None:
    node = json.dumps({"unique_id": "model.shop.orders"})
    event = json.dumps({"info": {"msg": json.dumps({"unique_id": "seed.shop.raw"}), "level": "info"}, "data": {}})

    assert listed(["12:00:00  Running with dbt=1.11.0", node, event, '{"unique_id": broken', '{"a": 1}']) == {
        "model.shop.orders",
        "seed.shop.raw",
    }


def test_a_chosen_test_brings_the_tests_that_dbt_selects_by_the_same_text() -> None:
    texts = {"test.shop.check.1": "fqn:shop.check", "test.shop.check.2": "fqn:shop.check", "test.shop.unique": "unique"}
    task = {"nodes": [*texts], "tested": "model.shop.orders", "after": []}

    choice = choose({"orders.test": task}, {"model.shop.orders", "test.shop.check.1"}, texts)

    assert choice.partial == {"orders.test": ["test.shop.check.1", "test.shop.check.2"]}
