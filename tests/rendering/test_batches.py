"""Nodes that run together: which do, in which order, under which names, and with which tests."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import BatchBy, DbtResourceType, SeedRenderingBehavior, TestBehavior
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.batches import batches_of
from cosmos_venv.rendering.model import Plan
from tests.rendering.made import node, planned

RAW = node("seed.shop.raw", file="seeds/raw.csv")
STG_A = node("model.shop.stg_a", "seed.shop.raw", file="models/staging/stg_a.sql", tags=["hourly"])
STG_B = node("model.shop.stg_b", "seed.shop.raw", file="models/staging/stg_b.sql")
MART = node("model.shop.mart", "model.shop.stg_a", "model.shop.stg_b", file="models/marts/mart.sql")
SHOP = (RAW, STG_A, STG_B, MART)


def shop(*more: DbtNode, batch_by: object = "folder", **render: object) -> Plan:
    return planned(*SHOP, *more, render=RenderConfig(batch_by=batch_by, **render))  # type: ignore[arg-type]


def building(batches: dict[str, str], **render: Any) -> RenderConfig:
    """Return the configuration of `dbt build` with these batches."""
    return RenderConfig(batch_by=lambda _: batches, test_behavior=TestBehavior.BUILD, **render)


def nodes_of(plan: Plan) -> dict[str, list[str]]:
    """Task id to the unique ids that its command builds."""
    return {task.task_id: list(task.arguments.get("nodes", ())) for task in plan.tasks}


def test_nodes_of_one_folder_run_together() -> None:
    plan = shop()

    assert nodes_of(plan) == {
        "seeds_batch": ["seed.shop.raw"],
        "models_staging_batch": ["model.shop.stg_a", "model.shop.stg_b"],
        "models_marts_batch": ["model.shop.mart"],
    }
    assert plan.edges == (("models_staging_batch", "models_marts_batch"), ("seeds_batch", "models_staging_batch"))
    assert plan.tasks_map["model.shop.stg_b"] == "models_staging_batch"
    assert {task.operator for task in plan.tasks} == {"operators.virtualenv.DbtBatchVirtualenvOperator"}


def test_a_wave_has_the_nodes_whose_parents_are_in_earlier_ones() -> None:
    other = node("model.shop.other", file="models/other.sql")

    assert nodes_of(shop(other, batch_by=BatchBy.WAVE)) == {
        "wave_1_batch": ["model.shop.other", "seed.shop.raw"],
        "wave_2_batch": ["model.shop.stg_a", "model.shop.stg_b"],
        "wave_3_batch": ["model.shop.mart"],
    }


def test_a_chain_goes_on_while_each_node_is_the_only_child_of_its_only_parent() -> None:
    report = node("model.shop.report", "model.shop.mart")

    plan = shop(report, batch_by="chain")

    assert nodes_of(plan) == {
        "raw_batch": ["seed.shop.raw"],
        "stg_a_batch": ["model.shop.stg_a"],
        "stg_b_batch": ["model.shop.stg_b"],
        "mart_batch": ["model.shop.mart", "model.shop.report"],
    }


def test_nodes_without_a_tag_have_tasks_of_their_own() -> None:
    tagged = [
        DbtNode(each.unique_id, each.resource_type, each.depends_on, each.path_base, each.original_file_path, tags=tags)
        for each, tags in zip(SHOP, ([], ["b", "hourly"], ["hourly"], ["b"]), strict=True)
    ]

    plan = planned(*tagged, render=RenderConfig(batch_by="tag", test_behavior="none"))  # type: ignore[arg-type]

    assert nodes_of(plan) == {
        "raw_seed": [],
        "hourly_batch": ["model.shop.stg_b"],
        "b_batch": ["model.shop.stg_a", "model.shop.mart"],
    }


def test_a_batch_that_would_make_a_circle_is_split_and_said(caplog: pytest.LogCaptureFixture) -> None:
    late = node("model.shop.late", "model.shop.mart", file="models/staging/late.sql")

    with caplog.at_level(logging.INFO, "cosmos_venv"):
        plan = shop(late)

    assert nodes_of(plan)["models_staging_batch"] == ["model.shop.stg_a", "model.shop.stg_b"]
    assert nodes_of(plan)["models_staging_2_batch"] == ["model.shop.late"]
    assert "The batch 'models_staging' is split into models_staging, models_staging_2" in caplog.text


def test_names_stay_when_a_model_is_added() -> None:
    before = shop()

    after = shop(node("model.shop.stg_c", "seed.shop.raw", file="models/staging/stg_c.sql"))

    assert [task.task_id for task in after.tasks] == [task.task_id for task in before.tasks]


def test_ids_that_cannot_be_are_refused_with_the_parameter_that_names_batches() -> None:
    with pytest.raises(
        CosmosLoadDbtException, match=r"would both become 'mart_run_batch'.* a callable batch_by names batches"
    ):
        shop(batch_by=lambda _: {"model.shop.stg_a": "mart_run"}, normalize_task_id=lambda _: "mart_run_batch")
    with pytest.raises(CosmosValueError, match=r"the batch y+_batch would become .* a callable batch_by names batches"):
        shop(batch_by=lambda _: {"model.shop.stg_a": "y" * 249})


def test_what_needs_a_task_of_its_own_has_one() -> None:
    pooled = node("model.shop.pooled", "model.shop.stg_a", meta={"cosmos": {"operator_kwargs": {"pool": "large"}}})
    after = node("model.shop.after", "model.shop.pooled", file="models/marts/after.sql")

    plan = shop(pooled, after, seed_rendering_behavior=SeedRenderingBehavior.WHEN_SEED_CHANGES)

    assert nodes_of(plan) == {
        "raw_seed": [],
        "models_staging_batch": ["model.shop.stg_a", "model.shop.stg_b"],
        "pooled_run": [],
        "models_marts_batch": ["model.shop.mart", "model.shop.after"],
    }


def test_a_placeholder_stands_for_a_batch_of_ephemeral_models() -> None:
    part = node("model.shop.part", file="models/parts/part.sql", materialized="ephemeral")
    reader = node("model.shop.reader", "model.shop.part", file="models/parts/more/reader.sql")

    plan = shop(part, reader)

    assert ("models_parts_batch", "models_parts_more_batch") in plan.edges
    assert {task.task_id: task.operator for task in plan.tasks}["models_parts_batch"] == "empty"


@pytest.mark.parametrize("batch_by", ["folder", "wave", "chain"])
def test_tests_of_ephemeral_models_run_in_a_batch_without_any_other_model(batch_by: str) -> None:
    part = node("model.shop.part", file="models/parts/part.sql", materialized="ephemeral")
    readers = [node(f"model.shop.{name}", "model.shop.part", file=f"models/{name}.sql") for name in ("left", "right")]
    test = node("test.shop.not_null_part.0c", "model.shop.part")

    plan = planned(part, *readers, test, render=RenderConfig(batch_by=batch_by))  # type: ignore[arg-type]

    (of_part,) = (task for task in plan.tasks if test.unique_id in task.arguments.get("nodes", ()))
    assert of_part.arguments["nodes"] == {test.unique_id: "fqn:shop.not_null_part"}
    assert of_part.operator == "operators.virtualenv.DbtBatchVirtualenvOperator"
    assert of_part.document == "- `model.shop.part`"


@pytest.mark.parametrize("is_batched", [False, True])
def test_tests_of_an_ephemeral_model_run_in_the_batch_of_the_model(is_batched: bool) -> None:
    part = node("model.shop.part", materialized="ephemeral")
    test = node("test.shop.not_null_part.0c", "model.shop.part")

    plan = planned(part, test, render=building({part.unique_id: "parts"} if is_batched else {}))

    assert any(test.unique_id in task.arguments.get("nodes", ()) for task in plan.tasks) is is_batched


def test_all_tests_of_one_fqn_run_in_the_task_of_one() -> None:
    parts = [node(f"model.shop.{name}", materialized="ephemeral") for name in ("left", "right")]
    tests = [node(f"test.shop.has_an_id.{index}", part.unique_id) for index, part in enumerate(parts)]

    plan = planned(*parts, *tests, render=building({}))

    assert {test for task in plan.tasks for test in task.context.get("dbt_tests", ())} == {
        test.unique_id for test in tests
    }


def test_one_batch_has_all_nodes() -> None:
    plan = shop(UNIQUE, batch_by="all")

    assert nodes_of(plan) == {
        "all_batch": ["seed.shop.raw", "model.shop.stg_a", "model.shop.stg_b", "model.shop.mart", UNIQUE.unique_id]
    }


def test_tests_run_in_batches_under_build_too() -> None:
    pooled = node("model.shop.pooled", "model.shop.mart", meta={"cosmos": {"operator_kwargs": {"pool": "large"}}})
    across = node("test.shop.across.1b", "model.shop.pooled", "model.shop.mart")

    plan = shop(pooled, UNIQUE, ACROSS, across, test_behavior=TestBehavior.BUILD)

    assert nodes_of(plan) == {
        "seeds_batch": ["seed.shop.raw"],
        "models_staging_batch": ["model.shop.stg_a", "model.shop.stg_b", UNIQUE.unique_id],
        "models_marts_batch": ["model.shop.mart", ACROSS.unique_id],
        "pooled_model_build": [],
        "across_test": [],
    }
    (build,) = (task for task in plan.tasks if task.task_id == "pooled_model_build")
    assert build.arguments["select"] == "fqn:shop.pooled"


UNIQUE = node("test.shop.unique_a.0c", "model.shop.stg_a")
UNIT = node("unit_test.shop.stg_a.adds_up", "model.shop.stg_a")
TOGETHER = node("test.shop.same_rows.7f", "model.shop.stg_a", "model.shop.stg_b")
ACROSS = node("test.shop.adds_up.1b", "model.shop.mart", "model.shop.stg_a")


def test_tests_run_with_their_nodes_and_across_batches_in_the_last_one() -> None:
    assert nodes_of(shop(UNIQUE, UNIT, TOGETHER, ACROSS)) == {
        "seeds_batch": ["seed.shop.raw"],
        "models_staging_batch": [
            "model.shop.stg_a",
            "model.shop.stg_b",
            UNIQUE.unique_id,
            UNIT.unique_id,
            TOGETHER.unique_id,
        ],
        "models_marts_batch": ["model.shop.mart", ACROSS.unique_id],
    }


def test_a_test_whose_batches_have_no_last_one_runs_once_behind_all() -> None:
    plan = shop(TOGETHER, batch_by="chain")

    assert nodes_of(plan)["same_rows_test"] == []
    assert {("stg_a_batch", "same_rows_test"), ("stg_b_batch", "same_rows_test")} <= {*plan.edges}
    assert not [each for each in nodes_of(plan).values() if TOGETHER.unique_id in each]


def test_a_test_with_arguments_of_its_own_has_a_task_of_its_own() -> None:
    pooled = node("test.shop.slow.7f", "model.shop.mart", meta={"cosmos": {"operator_kwargs": {"pool": "qa"}}})

    plan = shop(pooled)

    (task,) = (each for each in plan.tasks if each.task_id == "slow_test")
    assert task.arguments["pool"] == "qa"
    assert pooled.unique_id not in nodes_of(plan)["models_marts_batch"]


@pytest.mark.parametrize("behavior", [TestBehavior.NONE, TestBehavior.AFTER_ALL])
def test_no_test_runs_in_a_batch_where_none_is_wanted_there(behavior: TestBehavior) -> None:
    plan = shop(UNIQUE, ACROSS, test_behavior=behavior)

    assert nodes_of(plan)["models_marts_batch"] == ["model.shop.mart"]
    assert ("shop_test" in nodes_of(plan)) is (behavior is TestBehavior.AFTER_ALL)
    assert plan.tasks[0].arguments["indirect_selection"] == "empty"


def test_a_callable_names_batches() -> None:
    def by_letter(nodes: Mapping[str, DbtNode]) -> dict[str, str]:
        return {each: f"letter_{node.name[-1]}" for each, node in nodes.items() if node.name.startswith("stg")}

    assert nodes_of(shop(batch_by=by_letter)) == {
        "raw_seed": [],
        "letter_a_batch": ["model.shop.stg_a"],
        "letter_b_batch": ["model.shop.stg_b"],
        "mart_run": [],
    }


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (["model.shop.mart"], "must return a mapping of unique ids to names of batches"),
        ({"model.shop.none": "x"}, "'model.shop.none', which is none of the 4 nodes"),
        ({"model.shop.mart": "two words"}, "gave the batch 'two words' to model.shop.mart"),
        ({"model.shop.mart": None}, "gave the batch None to model.shop.mart"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_with_its_name(answer: object, sentence: str) -> None:
    with pytest.raises(CosmosValueError, match=r"RenderConfig\.batch_by gave") as refused:
        shop(batch_by=lambda _: answer)

    assert sentence in str(refused.value)


def test_another_word_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(CosmosValueError, match=r"batch_by='layer' is none of BatchBy.FOLDER, BatchBy.TAG"):
        RenderConfig(batch_by="layer")  # type: ignore[arg-type]


def test_combinations_that_cannot_be_are_refused() -> None:
    with pytest.raises(CosmosValueError, match="batch_by does not go with a node converter for tests"):
        RenderConfig(batch_by=BatchBy.WAVE, node_converters={DbtResourceType.TEST: print})


# A busy machine made the generation of an example "slow": 1.5 s.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 25).flatmap(
        lambda size: st.tuples(
            *(
                st.tuples(
                    st.sets(st.integers(0, each - 1)) if each else st.just(set()), st.sampled_from(["a", "b", ""])
                )
                for each in range(size)
            )
        )
    ),
    st.sampled_from([BatchBy.CHAIN, BatchBy.WAVE, None]),
)
def test_every_node_is_in_one_unit_and_units_make_no_circle(
    drawn: tuple[tuple[set[int], str], ...], batch_by: BatchBy | None
) -> None:
    ids = [f"model.shop.m{number:02}" for number, _ in enumerate(drawn)]
    nodes = {
        each: node(each, *(ids[parent] for parent in parents)) for each, (parents, _) in zip(ids, drawn, strict=True)
    }
    labels = {each: label for each, (_, label) in zip(ids, drawn, strict=True) if label}

    found = batches_of(nodes, nodes.keys(), batch_by or (lambda _: labels))

    members = [each for batch in found.batches for each in batch.members]
    assert sorted(members) == sorted(ids if batch_by else labels)
    assert len({batch.name for batch in found.batches}) == len(found.batches)
    before: dict[int, set[int]] = {unit: set() for unit in found.unit_of.values()}
    for each, value in nodes.items():
        before[found.unit_of[each]] |= {found.unit_of[parent] for parent in value.depends_on}
    graph = {unit: above - {unit} for unit, above in before.items()}
    ordered = [*TopologicalSorter(graph).static_order()]  # raises where there is a circle
    assert {*ordered} == {*found.unit_of.values()}
    ancestors: dict[int, set[int]] = {}
    for unit in ordered:
        ancestors[unit] = graph[unit].union(*(ancestors[each] for each in graph[unit]))
        assert {each for each in ordered if found.before[unit] >> each & 1} == ancestors[unit]
