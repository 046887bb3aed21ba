"""The method ``selector:`` in ``--select`` selects what ``dbt ls`` of dbt-core 1.12.0 was seen to select."""

from __future__ import annotations

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node_entry import DependsOn, NodeEntry
from cosmos_venv.project.selection.evaluate import Definitions, evaluate, from_lists
from cosmos_venv.project.selection.graph import SelectionGraph

# selectors.yml of the project that dbt was asked about.
SELECTORS = {
    "nightly": {"method": "tag", "value": "nightly"},
    "wide": {"method": "tag", "value": "nightly", "children": True},
    "cautious": {"method": "fqn", "value": "b", "indirect_selection": "cautious"},
}


def entry(kind: str, name: str, *parents: str, tags: tuple[str, ...] = ()) -> NodeEntry:
    parent_ids = [f"model.shop.{parent}" for parent in parents]
    return NodeEntry(
        resource_type=kind,
        package_name="shop",
        fqn=["shop", name],
        tags=[*tags],
        depends_on=DependsOn(nodes=parent_ids),
    )


# c reads b, which reads a. One test looks at b, the other at a and b.
ENTRIES = {
    "model.shop.a": entry("model", "a", tags=("nightly",)),
    "model.shop.b": entry("model", "b", "a"),
    "model.shop.c": entry("model", "c", "b"),
    "test.shop.one": entry("test", "one", "b"),
    "test.shop.both": entry("test", "both", "a", "b"),
}


def selected(*select: str, exclude: tuple[str, ...] = ()) -> str:
    tree = from_lists(select, exclude, definitions=Definitions(SELECTORS))
    ids = evaluate(SelectionGraph(ENTRIES, project_name="shop"), tree)
    return " ".join(sorted(each.rpartition(".")[2] for each in ids))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("selector:nightly", "a both"),
        ("selector:wide", "a b both c one"),
        ("+selector:nightly", "a b both"),
        ("selector:nightly+", "a b both c one"),
        ("@selector:nightly", "a b both c one"),
        ("selector:nightly,fqn:a", "a both"),
        ("selector:n*", "a both"),
        ("selector:cautious", "b one"),
    ],
)
def test_a_word_selects_as_dbt(word: str, expected: str) -> None:
    assert selected(word) == expected


def test_a_selector_may_be_left_out() -> None:
    assert selected(exclude=("selector:nightly",)) == "b c one"


def test_a_selector_that_is_not_defined_is_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"selector 'none' is not defined\. The manifest has: cautious, nightly"):
        selected("selector:none")


def test_another_dbt_is_told_the_way_out() -> None:
    with pytest.raises(CosmosValueError, match=r"is one of dbt 1\.12.* With another dbt use RenderConfig\.selector"):
        from_lists(["selector:nightly"], [])


def test_a_broken_selector_that_wildcards_mean_is_left_out_where_a_setting_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """``[cosmos] enable_lax_selector_parsing``."""
    selectors = {**SELECTORS, "nowhere": {"method": "nope", "value": "x"}}

    def lax(word: str, is_lax: bool = True) -> set[str]:
        definitions = Definitions(selectors, is_lax=is_lax)
        return evaluate(SelectionGraph(ENTRIES), from_lists([word], [], definitions=definitions))

    assert lax("selector:n*") == {"model.shop.a", "test.shop.both"}
    assert "The definition of selector 'nowhere' cannot be used" in caplog.text
    assert "[cosmos] enable_lax_selector_parsing leaves it out" in caplog.text
    for word, is_lax in (("selector:nowhere", True), ("selector:n*", False)):
        with pytest.raises(CosmosValueError, match="The definition of selector 'nowhere' cannot be used"):
            lax(word, is_lax)
