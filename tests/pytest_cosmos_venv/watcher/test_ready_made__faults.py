"""Each ready-made scenario fails on a cosmos_venv with a fault of the kind that it is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cosmos_venv.constants import PRODUCER_WATCHER_DONE_TASK_ID, PRODUCER_WATCHER_TASK_ID
from cosmos_venv.operators.run.journal import Journal
from cosmos_venv.operators.watch import trigger, verdict, waiting
from cosmos_venv.operators.watch.verdict import Action, Told, Verdict, Watch
from pytest_cosmos_venv import WATCHER_SCENARIOS, WatcherBench, WatcherScenarios
from pytest_cosmos_venv.watcher.outcome import WatcherRequirementNotMet

SCENARIOS = {scenario.id: scenario for scenario in WATCHER_SCENARIOS}


def _succeed(*_: object) -> Verdict:
    return Verdict(action=Action.SUCCEED, reason="a fault")


def _fail(*_: object) -> Verdict:
    return Verdict(action=Action.FAIL, reason="a fault")


def _silence_is_green(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "_unsaid", _succeed)


def _every_end_is_green(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "_ended", _succeed)


def _nothing_is_run_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "_alone", _fail)


def _each_node_is_run_alone_too(patch: pytest.MonkeyPatch) -> None:
    _run_alone_too(patch, "")


def _each_test_is_run_alone_too(patch: pytest.MonkeyPatch) -> None:
    _run_alone_too(patch, "test.")


def _run_alone_too(patch: pytest.MonkeyPatch, beginning: str) -> None:
    """Let tasks run dbt themselves too, those of nodes whose unique ids begin so."""
    real = verdict.verdict

    def too(task: Watch, *arguments: Any) -> Verdict:
        found = real(task, *arguments)
        is_meant = all(each.startswith(beginning) for each in task.nodes)
        return replace_action(found) if is_meant and found.action is Action.SUCCEED else found

    def replace_action(found: Verdict) -> Verdict:
        return Verdict(action=Action.RUN_ALONE, reason=found.reason)

    for module in (trigger, waiting):
        patch.setattr(module, "verdict", too)


def _a_failure_is_told_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Told, "leaves_out", lambda *_: False)


def _the_producer_forgets(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "_done_before", lambda _: {})


def _dag(change: Callable[[Any], object]) -> Callable[[pytest.MonkeyPatch], None]:
    def fault(patch: pytest.MonkeyPatch) -> None:
        real = WatcherBench.make_dag

        def changed(bench: WatcherBench) -> Any:
            dag = real(bench)
            change(dag)
            return dag

        patch.setattr(WatcherBench, "make_dag", changed)

    return fault


def _ignored(**options: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Let the DAG be built as if some options of the scenario were not there."""

    def fault(patch: pytest.MonkeyPatch) -> None:
        real = WatcherBench.make_dag
        patch.setattr(WatcherBench, "make_dag", lambda it: real(replace(it, scenario=replace(it.scenario, **options))))

    return fault


def _the_run_follows_its_leaves(dag: Any) -> None:
    dag.get_task(PRODUCER_WATCHER_DONE_TASK_ID).trigger_rule = "all_done"


def _the_producer_begins_anyway(dag: Any) -> None:
    (producer,) = (task for task in dag.tasks if task.task_id.endswith(PRODUCER_WATCHER_TASK_ID))
    producer.trigger_rule = "all_done"


def _the_producer_has_no_retry(dag: Any) -> None:
    dag.get_task(PRODUCER_WATCHER_TASK_ID).retries = 0


def _the_flags_reach_the_producer_alone(dag: Any) -> None:
    for task in dag.tasks:
        if task.task_id.endswith("_run"):
            task.full_refresh = False


@dataclass(frozen=True)
class Fault:
    scenario: str
    fault: Callable[[pytest.MonkeyPatch], None]
    seen: str


FAULTS = [
    Fault("each-node-is-built-once", _each_node_is_run_alone_too, "dbt builds mart once\nSeen:     twice"),
    Fault("a-failed-node-fails-its-task", _every_end_is_green, "report ends in state failed\nSeen:     success"),
    Fault("a-failed-node-fails-the-run", _dag(_the_run_follows_its_leaves), "state failed\nSeen:     success"),
    Fault("a-node-without-status-is-not-green", _silence_is_green, "mart does not succeed\nSeen:     success"),
    Fault("a-killed-dbt-leaves-no-green-task", _silence_is_green, "mart does not succeed\nSeen:     success"),
    Fault("an-early-error-fails-the-run", _silence_is_green, "mart does not succeed\nSeen:     success"),
    Fault("an-early-error-is-over-in-the-next-try", _dag(_the_producer_has_no_retry), "success\nSeen:     failed"),
    Fault("a-retry-builds-what-is-not-done", _the_producer_forgets, "dbt builds ships once\nSeen:     twice"),
    Fault("a-killed-dbt-is-tried-again", _the_producer_forgets, "dbt builds staging once\nSeen:     twice"),
    Fault("a-retry-while-the-producer-waits-for-its-own", _a_failure_is_told_again, "success\nSeen:     failed"),
    Fault("a-retry-of-a-node-alone", _nothing_is_run_alone, "mart ends in state success\nSeen:     failed"),
    Fault("flags-reach-every-dbt", _dag(_the_flags_reach_the_producer_alone), "without --full-refresh: dbt run"),
    Fault("a-failed-test-fails-its-task", _every_end_is_green, "staging.test ends in state failed\nSeen:     success"),
    Fault("a-failed-test-of-two-models", _every_end_is_green, "does not succeed\nSeen:     success"),
    Fault(
        "a-test-of-two-models-runs-once", _each_test_is_run_alone_too, "dbt is not called with test\nSeen:     dbt test"
    ),
    Fault("an-excluded-node-is-not-waited-for", _ignored(exclude=()), "report has no task\nSeen:     one in state"),
    Fault("a-seed-that-is-only-shown", _ignored(exclude=("piers",)), "dbt builds piers once\nSeen:     not at all"),
    Fault("a-seed-without-a-task", _ignored(seeds="always"), "piers has no task\nSeen:     one in state success"),
    Fault("behind-a-failed-task", _dag(_the_producer_begins_anyway), "dbt builds mart not at all\nSeen:     once"),
]


def test_each_scenario_has_a_fault() -> None:
    assert [each.scenario for each in FAULTS] == [*SCENARIOS]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.scenario)
def test_a_fault_is_seen(
    fault: Fault, cosmos_watcher_scenario: WatcherScenarios, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.fault(monkeypatch)

    outcome = cosmos_watcher_scenario(SCENARIOS[fault.scenario])

    with pytest.raises(WatcherRequirementNotMet, match=re.escape(fault.seen)):
        outcome.check()
