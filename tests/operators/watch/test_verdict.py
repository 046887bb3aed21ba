"""What a task that watches nodes does, by what the journal and Airflow say."""

from __future__ import annotations

import itertools

import pytest

from cosmos_venv.operators.run.journal_lines import Outcome, TryRecord
from cosmos_venv.operators.watch.verdict import OVER, Action, Waiting, verdict

NODE, OTHER = "model.shop.orders", "model.shop.lines"
RUNNING = (None, "scheduled", "queued", "running", "up_for_retry", "deferred", "restarting")


def a_try(number: int = 1, last: int = 1, end: str = "", at: float = 5.0, **statuses: str) -> TryRecord:
    names = {"orders": NODE, "lines": OTHER}
    outcomes = {names[name]: Outcome(status, at, f"said {status}") for name, status in statuses.items()}
    return TryRecord(number=number, last=last, end=end, outcomes=outcomes)


def first(*nodes: str) -> Waiting:
    return Waiting(nodes=nodes or (NODE,), number=1, since=1.0)


def second(since: float = 10.0) -> Waiting:
    return Waiting(nodes=[NODE], number=2, since=since)


@pytest.mark.parametrize("state", [*RUNNING, *sorted(OVER)])
@pytest.mark.parametrize(
    ("status", "action"),
    [
        *((status, Action.SUCCEED) for status in ("success", "pass", "warn", "no-op", "reused")),
        *((status, Action.FAIL) for status in ("error", "fail", "runtime error", "partial success")),
    ],
)
def test_a_node_that_has_ended_ends_its_task_at_once(status: str, action: Action, state: str | None) -> None:
    found = verdict(first(), [a_try(orders=status)], state)

    assert found.action is action
    assert f"{NODE}: {status}" in found.reason
    assert found.outcomes[NODE].status == status


@pytest.mark.parametrize("state", RUNNING)
@pytest.mark.parametrize("tries", [[], [a_try()], [a_try(lines="success")]], ids=["no-journal", "nothing", "another"])
@pytest.mark.parametrize("task", [first(), second()], ids=["first", "second"])
def test_a_node_of_which_nothing_is_said_waits_for_the_producer(
    task: Waiting, tries: list[TryRecord], state: str | None
) -> None:
    assert verdict(task, tries, state).action is Action.WAIT


@pytest.mark.parametrize("tries", [[], [a_try()], [a_try(lines="success")]], ids=["no-journal", "nothing", "another"])
@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        ("success", Action.FAIL, "producer"),
        ("failed", Action.FAIL, "the producer has failed"),
        ("upstream_failed", Action.FAIL, "a task before the producer has failed"),
        ("removed", Action.FAIL, "producer"),
        ("skipped", Action.SKIP, "skipped"),
    ],
)
def test_a_node_of_which_nothing_is_said_is_never_green_when_the_producer_is_over(
    tries: list[TryRecord], state: str, action: Action, words: str
) -> None:
    found = verdict(first(), tries, state)

    assert found.action is action
    assert words in found.reason


@pytest.mark.parametrize(("state", "action"), [("upstream_failed", Action.FAIL), ("skipped", Action.SKIP)])
@pytest.mark.parametrize("tries", [[], [a_try(orders="error")]], ids=["no-journal", "told-before"])
def test_no_later_try_runs_dbt_behind_a_producer_that_was_not_to_begin(
    tries: list[TryRecord], state: str, action: Action
) -> None:
    assert verdict(second(), tries, state).action is action


def test_the_sentence_about_a_failed_producer_names_what_failed() -> None:
    found = verdict(first(), [a_try(lines="error")], "failed")

    assert found.reason == (f"{NODE}: the producer has failed ({OTHER} failed) before dbt has said what became of it.")


def test_a_failed_task_shows_what_dbt_has_said() -> None:
    assert verdict(first(), [a_try(orders="error")], "running").reason == f"{NODE}: error.\nsaid error"


@pytest.mark.parametrize("state", RUNNING)
def test_a_skipped_node_waits_for_the_next_try_of_the_producer(state: str | None) -> None:
    assert verdict(first(), [a_try(orders="skipped")], state).action is Action.WAIT
    assert verdict(first(), [a_try(orders="skipped"), a_try(2, orders="success")], state).action is Action.SUCCEED


@pytest.mark.parametrize("end", ["", "failed", "success"])
def test_a_skipped_node_is_skipped_where_no_try_follows(end: str) -> None:
    assert verdict(first(), [a_try(2, last=1, end=end, orders="skipped")], "running").action is Action.SKIP
    assert verdict(first(), [a_try(orders="skipped", end=end)], "failed").action is Action.SKIP


def test_the_worst_of_several_nodes_counts() -> None:
    states = {"success": Action.SUCCEED, "skipped": Action.SKIP, "error": Action.FAIL}
    ranked = list(states)

    for one, other in itertools.product(states, states):
        worst = max(one, other, key=ranked.index)
        found = verdict(first(NODE, OTHER), [a_try(last=0, orders=one, lines=other)], "failed")
        assert found.action is states[worst], (one, other)


def test_all_nodes_of_a_task_must_be_known() -> None:
    assert verdict(first(NODE, OTHER), [a_try(orders="error")], "running").action is Action.WAIT
    assert OTHER in verdict(first(NODE, OTHER), [a_try(orders="success")], "failed").reason


def test_a_task_that_is_tried_again_is_not_told_the_same_failure_once_more() -> None:
    told_before = [a_try(orders="error", at=5.0)]

    assert verdict(second(since=10.0), told_before, "up_for_retry").action is Action.WAIT
    assert verdict(second(since=10.0), told_before, "failed").action is Action.RUN_ALONE


@pytest.mark.parametrize("at", [7.0, 12.0], ids=["before-the-try", "within-the-try"])
def test_a_task_that_is_tried_again_takes_what_the_producers_next_try_has_done(at: float) -> None:
    tries = [a_try(orders="error", at=5.0), a_try(2, orders="success", at=at)]

    for state in ("running", "success", "failed"):
        assert verdict(second(since=10.0), tries, state).action is Action.SUCCEED


def test_a_second_failure_within_the_try_is_told() -> None:
    tries = [a_try(orders="error", at=5.0), a_try(2, orders="error", at=12.0)]

    assert verdict(second(since=10.0), tries, "failed").action is Action.FAIL
    assert verdict(second(since=13.0), tries, "failed").action is Action.RUN_ALONE


def test_clearing_a_task_whose_node_is_done_runs_the_node_again() -> None:
    done = [a_try(orders="success", end="success", at=5.0)]

    assert verdict(second(since=10.0), done, "success").action is Action.RUN_ALONE
    assert verdict(second(since=10.0), done, "running").action is Action.WAIT


def test_a_producer_that_was_cleared_with_its_tasks_counts_from_its_new_try_on() -> None:
    before = a_try(1, last=0, orders="success", end="success", at=5.0)

    assert verdict(second(since=10.0), [before], "running").action is Action.WAIT
    # Fast nodes may have ended before the trigger of their task has begun.
    again = [before, a_try(2, last=1, orders="success", at=9.0)]
    assert verdict(second(since=10.0), again, "running").action is Action.SUCCEED


def test_no_state_of_the_producer_makes_a_green_task_without_a_word_of_dbt() -> None:
    for state, number in itertools.product([*RUNNING, *sorted(OVER)], (1, 2, 3)):
        task = Waiting(nodes=[NODE], number=number, since=1.0)
        for tries in ([], [a_try()], [a_try(end="success")], [a_try(orders="error")], [a_try(orders="skipped")]):
            assert verdict(task, tries, state).action is not Action.SUCCEED
