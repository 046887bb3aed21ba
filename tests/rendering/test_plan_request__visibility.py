"""Which nodes are drawn as tasks, which as placeholders, which not at all."""

from __future__ import annotations

from typing import Any

import pytest

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import SeedRenderingBehavior, SourceRenderingBehavior, TestBehavior
from cosmos_venv.exceptions import CosmosValueError
from tests.rendering.made import node, planned

ALL, SOME = SourceRenderingBehavior.ALL, SourceRenderingBehavior.WITH_TESTS_OR_FRESHNESS
FRESH = node("source.shop.raw.fresh", has_freshness=True)
TESTED = node("source.shop.raw.tested")
TEST = node("test.shop.not_null_tested.1", "source.shop.raw.tested")
PLAIN = node("source.shop.raw.plain")
READER = node("model.shop.orders", "source.shop.raw.fresh")
SOURCE, EMPTY, RUN = "DbtSourceVirtualenvOperator", "empty", "DbtRunVirtualenvOperator"


def drawn(render: RenderConfig) -> dict[str, str]:
    made = planned(FRESH, TESTED, TEST, PLAIN, READER, render=render)
    return {
        task.task_id: task.operator.rpartition(".")[2] for task in made.tasks if not task.task_id.startswith("orders")
    }


@pytest.mark.parametrize(
    ("behavior", "tests", "expected"),
    [
        pytest.param(SourceRenderingBehavior.NONE, TestBehavior.NONE, {}, id="none"),
        pytest.param(
            ALL,
            TestBehavior.NONE,
            {"raw_fresh_source": SOURCE, "raw_plain_source": EMPTY, "raw_tested_source": EMPTY},
            id="all",
        ),
        pytest.param(
            ALL,
            TestBehavior.AFTER_EACH,
            {
                "raw_fresh_source": SOURCE,
                "raw_plain_source": EMPTY,
                "raw_tested.source": EMPTY,
                "raw_tested.test": "DbtTestVirtualenvOperator",
            },
            id="all-with-tests",
        ),
        pytest.param(
            SOME, TestBehavior.NONE, {"raw_fresh_source": SOURCE, "raw_tested_source": SOURCE}, id="tests-or-freshness"
        ),
    ],
)
def test_sources_look_as_their_freshness_and_tests_want_it(
    behavior: SourceRenderingBehavior, tests: TestBehavior, expected: dict[str, str]
) -> None:
    assert drawn(RenderConfig(source_rendering_behavior=behavior, test_behavior=tests)) == expected


@pytest.mark.parametrize("behavior", [ALL, SOME])
def test_sources_with_a_freshness_are_waited_for_where_that_is_wanted(behavior: SourceRenderingBehavior) -> None:
    render: dict[str, Any] = {"source_rendering_behavior": behavior, "test_behavior": TestBehavior.NONE}
    others = drawn(RenderConfig(**render))

    assert drawn(RenderConfig(**render, wait_for_sources=True)) == {
        **others,
        "raw_fresh_source": "DbtSourceFreshnessVirtualenvSensor",
    }


def test_waiting_for_sources_that_have_no_task_is_refused() -> None:
    with pytest.raises(CosmosValueError, match="wait_for_sources=True, and source_rendering_behavior NONE"):
        RenderConfig(wait_for_sources=True)


def test_a_source_that_nothing_reads_is_pruned_and_a_test_reads_too() -> None:
    render = RenderConfig(source_rendering_behavior=ALL, source_pruning=True, test_behavior=TestBehavior.NONE)

    assert sorted(drawn(render)) == ["raw_fresh_source", "raw_tested_source"]


def test_sources_are_named_to_dbt_as_sources() -> None:
    made = planned(FRESH, TESTED, TEST, render=RenderConfig(source_rendering_behavior=SOME))

    arguments = {task.task_id: task.arguments for task in made.tasks}
    assert arguments["raw_fresh_source"] == {"select": "source:raw.fresh"}
    assert arguments["raw_tested.test"]["select"] == "source:raw.tested"


def test_a_placeholder_of_a_source_has_no_owner_and_one_of_a_model_has() -> None:
    source = node("source.shop.raw.plain", meta={"owner": "ana"})
    ephemeral = node("model.shop.cells", materialized="Ephemeral", meta={"owner": "ana"})

    made = planned(source, ephemeral, render=RenderConfig(source_rendering_behavior=ALL))

    assert {task.task_id: task.arguments for task in made.tasks} == {
        "cells_run": {"owner": "ana"},
        "raw_plain_source": {},
    }


@pytest.mark.parametrize(
    ("behavior", "expected"),
    [
        pytest.param(SeedRenderingBehavior.ALWAYS, {"raw_seed": "DbtSeedVirtualenvOperator"}, id="always"),
        pytest.param(SeedRenderingBehavior.WHEN_SEED_CHANGES, {"raw_seed": "DbtSeedVirtualenvOperator"}, id="changed"),
        pytest.param(SeedRenderingBehavior.RENDER_ONLY, {"raw_seed": EMPTY}, id="render-only"),
        pytest.param(SeedRenderingBehavior.NONE, {}, id="none"),
    ],
)
def test_seeds_look_as_they_are_told(behavior: SeedRenderingBehavior, expected: dict[str, str]) -> None:
    render = RenderConfig(seed_rendering_behavior=behavior, allow_empty_selection=True)
    made = planned(node("seed.shop.raw"), render=render)

    assert {task.task_id: task.operator.rpartition(".")[2] for task in made.tasks} == expected
