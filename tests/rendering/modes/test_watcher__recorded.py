"""DAGs of ExecutionMode.WATCHER against those that Cosmos makes of the same configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.rendering import airflow_tasks
from tests.rendering.recorded import CASES, Built, build, name_of

PRODUCER, DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"
WATCHED = [case for case in CASES if case["config"].get("execution", {}).get("execution_mode", "").endswith(".WATCHER")]
REFUSED = {
    "mode_watcher_build": "test_behavior .*BUILD.*Use AFTER_EACH, AFTER_ALL or NONE",
    "mode_watcher_seed_changes_refused": "WHEN_SEED_CHANGES does not go with .*WATCHER",
    # A typing error would vanish without a word.
    "mode_watcher_unknown_key": "no dbt operator takes 'no_such_argument'",
    # Cosmos renders it, and no task of it can run.
    "mode_watcher_no_profile": "profile_config is missing",
}
RENDERED = [case for case in WATCHED if case["name"] not in REFUSED]
# It has a profile of its own, which the one command of Cosmos's producer does not heed: here it has its own task.
OF_ITS_OWN = "fleet_summary"


def prefix_of(case: dict[str, Any]) -> str:
    return "dbt_task_group." if case["config"]["entry"] == "DbtTaskGroup" else ""


def operator_of(task_id: str, recorded: str) -> str:
    if OF_ITS_OWN in task_id or task_id.endswith(("_source", ".source")):
        return recorded.replace("operators.watcher", "operators.local").replace("WatcherOperator", "LocalOperator")
    return recorded


def test_no_case_vanishes_unnoticed() -> None:
    assert (len(RENDERED), len(REFUSED)) == (13, 4)


@pytest.mark.parametrize("case", [case for case in WATCHED if case["name"] in REFUSED], ids=name_of)
def test_what_cannot_be_watched_is_refused_with_the_way_out(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match=REFUSED[case["name"]]):
        build(case, tmp_path)


@pytest.mark.parametrize("case", RENDERED, ids=name_of)
def test_the_tasks_are_those_of_cosmos_and_one_that_fails_the_run(case: dict[str, Any], built: Built) -> None:
    expected, prefix = case["result"], prefix_of(case)

    assert sorted(built.tasks) == sorted({*expected["task_ids"], f"{prefix}{DONE}"})
    assert built.groups == expected["group_ids"]
    ours = {task_id: each for task_id, each in built.operators.items() if not task_id.endswith(DONE)}
    recorded = {task_id: each for task_id, each in expected["operators"].items() if not task_id.endswith(DONE)}
    assert ours == {task_id: operator_of(task_id, each) for task_id, each in recorded.items()}


@pytest.mark.parametrize("case", RENDERED, ids=name_of)
def test_the_edges_are_those_of_cosmos_and_some_of_the_producer(case: dict[str, Any], built: Built) -> None:
    ours, recorded = ({tuple(edge) for edge in edges} for edges in (built.edges, case["result"]["edges"]))

    def is_among_nodes(edge: tuple[str, ...]) -> bool:
        return not any(each.rpartition(".")[2] in (PRODUCER, DONE, "before", "after") for each in edge)

    assert set(filter(is_among_nodes, ours)) == set(filter(is_among_nodes, recorded))
    prefix = prefix_of(case)
    assert (f"{prefix}{PRODUCER}", f"{prefix}{DONE}") in ours


@pytest.mark.parametrize("case", RENDERED, ids=name_of)
def test_no_task_that_watches_comes_before_the_producer(case: dict[str, Any], built: Built) -> None:
    producer = built.tasks[f"{prefix_of(case)}{PRODUCER}"]
    watching = {task_id for task_id, each in built.operators.items() if "Watcher" in each} - {producer.task_id}

    behind = {task.task_id for task in producer.get_flat_relatives(upstream=False)}
    assert watching <= behind
    assert {built.tasks[each].trigger_rule.value for each in watching} == {"always"}


@pytest.mark.parametrize("case", RENDERED, ids=name_of)
def test_the_task_that_fails_the_run_is_the_only_leaf(case: dict[str, Any], built: Built) -> None:
    """A skipped leaf would skip what comes behind a group before that hears of a failure: a green run."""
    prefix = prefix_of(case)
    ids = {task_id for task_id in built.tasks if task_id.startswith(prefix)} - {"before", "after"}

    leaves = {task_id for task_id in ids if not built.tasks[task_id].downstream_task_ids & ids}

    assert leaves == {f"{prefix}{DONE}"}
    # It would run what stands behind a group that was skipped.
    assert built.tasks[f"{prefix}{DONE}"].trigger_rule.value == "none_failed_min_one_success"


@pytest.mark.parametrize("case", RENDERED, ids=name_of)
def test_each_node_is_built_once_and_each_watched_node_is_built(case: dict[str, Any], built: Built) -> None:
    producer = built.tasks[f"{prefix_of(case)}{PRODUCER}"]
    watching = [task for task in built.tasks.values() if getattr(task, "node_ids", ())]

    assert {each for task in watching for each in task.node_ids} <= producer.nodes.keys()
    assert not [each for each in producer.nodes if OF_ITS_OWN in each and not each.startswith("test.")]
    of_models = {task.model_unique_id for task in watching if len(task.node_ids) == 1}
    assert of_models, "some node is watched alone"


def test_arguments_of_the_producer_go_over_those_of_all_tasks(tmp_path: Path) -> None:
    (case,) = (each for each in RENDERED if each["name"] == "mode_watcher_setup_args")

    built = build(case, tmp_path)

    assert (built.tasks[PRODUCER].retries, built.tasks[PRODUCER].queue) == (7, "producers")
    assert (built.tasks["geo_rollup_run"].retries, built.tasks["geo_rollup_run"].queue) == (0, "default")


def test_arguments_of_all_tasks_reach_the_producer_and_those_that_watch(tmp_path: Path) -> None:
    (case,) = (each for each in RENDERED if each["name"] == "mode_watcher_operator_args")

    built = build(case, tmp_path)

    for task_id in (PRODUCER, "geo_rollup_run"):
        task = built.tasks[task_id]
        assert (task.priority_weight, task.queue, task.full_refresh) == (9, "q1", True), task_id
    watching = built.tasks["geo_rollup_run"]
    assert (watching.deferrable, watching.poke_interval) == (False, 3)
    assert watching.start_from_trigger is False
    assert watching.trigger_rule.value == "always", "all wait from the beginning"


def test_the_producer_goes_first_where_nothing_else_is_said(tmp_path: Path) -> None:
    built = build(RENDERED[0], tmp_path)

    weights = {task_id: built.tasks[task_id].priority_weight for task_id in (PRODUCER, "geo_rollup_run")}
    assert weights == {PRODUCER: 20, "geo_rollup_run": 2}


@pytest.mark.parametrize(
    ("begins_in_triggerer", "deferrable", "watching"),
    [
        pytest.param(True, True, "later-tries", id="begins-in-the-triggerer"),
        pytest.param(True, False, "short-starts", id="no-triggerer"),
        pytest.param(False, True, "short-starts", id="an-airflow-before-3.3.2"),
    ],
)
def test_producer_and_tasks_that_watch_have_queues_of_their_own(
    begins_in_triggerer: bool, deferrable: bool, watching: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = (each for each in RENDERED if each["name"] == "mode_watcher_operator_args")
    case = {**case, "config": {**case["config"], "operator_args": {"queue": "q1", "deferrable": deferrable}}}
    monkeypatch.setattr(airflow_tasks, "TASKS_START_AS_TRIGGERS", begins_in_triggerer)
    for name, value in {
        "EXECUTION": "dbt",
        "PRODUCER": "builds",
        "CONSUMER": "short-starts",
        "RETRY": "later-tries",
    }.items():
        monkeypatch.setenv(f"AIRFLOW__COSMOS__WATCHER_DBT_{name}_QUEUE", value)

    built = build(case, tmp_path)

    assert built.tasks[PRODUCER].queue == "builds"
    assert built.tasks["geo_rollup_run"].queue == watching
    own = next(task for task_id, task in built.tasks.items() if OF_ITS_OWN in task_id)
    assert own.queue == "dbt", "it runs dbt, and watches nothing"
