"""Which nodes are drawn as tasks, which as placeholders, which not at all."""

from __future__ import annotations

from typing import Any

import msgspec
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
        pytest.param(
            ALL,
            TestBehavior.BUILD,
            {"raw_fresh_source": SOURCE, "raw_plain_source": EMPTY, "raw_tested_source": EMPTY},
            id="all-build",
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


def test_what_is_dropped_of_seeds_that_are_only_shown_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    said = [{"retries": 3, "pool": "heavy"}, {"pool": "light", "task_display_name": "Ships"}, {}]
    seeds = [
        node(f"seed.shop.raw{number}", meta={"cosmos": {"operator_kwargs": each}}) for number, each in enumerate(said)
    ]

    with caplog.at_level("INFO"):
        made = planned(*seeds, render=RenderConfig(seed_rendering_behavior=SeedRenderingBehavior.RENDER_ONLY))
        planned(*seeds)

    assert [record.message for record in caplog.records] == [
        "Seeds are only shown (SeedRenderingBehavior.RENDER_ONLY) and run nothing. Of their operator_kwargs are "
        "dropped: pool, retries."
    ]
    assert [task.arguments for task in made.tasks] == [{}, {"task_display_name": "Ships"}, {}]


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


SEED, EPHEMERAL = node("seed.shop.raw"), node("model.shop.cells", materialized="ephemeral")
OF_EPHEMERAL, OF_SEED = (
    node("test.shop.full_cells.1", EPHEMERAL.unique_id),
    node("test.shop.full_raw.1", SEED.unique_id),
)
EXPOSURE = node("exposure.shop.page", READER.unique_id)


def marks(**render: Any) -> dict[str, str]:
    """What a plan does with each node, in words."""
    nodes = (FRESH, READER, SEED, EPHEMERAL, OF_EPHEMERAL, OF_SEED, EXPOSURE)
    made = planned(*nodes, render=RenderConfig(**render))
    return {
        each.split(".")[-2] if each.endswith(".1") else each.split(".")[-1]: " ".join(
            name.removeprefix("is_") for name, value in msgspec.structs.asdict(mark).items() if value
        )
        for each, mark in made.nodes.items()
    }


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        pytest.param(
            {"ephemeral_models_as_empty_operator": False},
            {"cells": "drawn built", "raw": "drawn built reported", "full_cells": "built reported"},
            id="tests-after-each",
        ),
        pytest.param({}, {"cells": "drawn", "full_cells": "built reported"}, id="placeholder"),
        pytest.param(
            {"test_behavior": "build"},
            {"cells": "drawn", "full_cells": "reported", "full_raw": "built reported"},
            id="build",
        ),
        pytest.param(
            {"test_behavior": "build", "batch_by": "all"},
            {"cells": "drawn", "full_cells": "built reported"},
            id="batch",
        ),
        pytest.param({"test_behavior": "none"}, {"full_cells": "reported", "full_raw": "reported"}, id="no-tests"),
        pytest.param(
            {"test_behavior": "after_all", "seed_rendering_behavior": "none"},
            {"full_cells": "built reported", "full_raw": "built reported", "raw": "reported"},
            id="all-tests-no-seeds",
        ),
        pytest.param(
            {"seed_rendering_behavior": "render_only"},
            {"raw": "drawn reported", "full_raw": "built reported"},
            id="seeds-shown",
        ),
        pytest.param({"source_rendering_behavior": ALL}, {"fresh": "drawn built reported"}, id="sources"),
    ],
)
def test_a_plan_says_of_each_node_whether_it_is_drawn_built_and_reported(
    render: dict[str, Any], expected: dict[str, str]
) -> None:
    found = marks(**render)

    assert {each: found[each] for each in expected} == expected
    assert found["orders"] == "drawn built reported"
    assert found["page"] == "", "selected, neither drawn nor built"


def test_a_test_does_not_count_as_run_in_a_plan_without_tasks() -> None:
    render = RenderConfig(test_behavior=TestBehavior.AFTER_ALL, allow_empty_selection=True)

    made = planned(OF_SEED, render=render)

    assert not made.tasks
    assert not made.nodes[OF_SEED.unique_id].is_built
