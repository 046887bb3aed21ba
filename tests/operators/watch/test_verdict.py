"""What a task that watches nodes does, by what the journal and Airflow say."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.operators.run.journal_record import TryRecord
from cosmos_venv.operators.watch.verdict import OVER, SAYS, Action, Told, Watch, told_by, verdict

NODE, OTHER = "model.shop.orders", "model.shop.lines"
RUNNING = (None, "scheduled", "queued", "running", "up_for_retry", "deferred", "restarting")


BUILT = sorted({"success", "failed", "removed"})  # the states of a producer that is over and may have built something


def a_try(number: int = 1, last: int = 1, end: str = "", origin: int | None = None, **statuses: str) -> TryRecord:
    """:param origin: the try that has run the nodes; None: this one."""
    names = {"orders": NODE, "lines": OTHER}
    outcomes = {
        names[name]: NodeOutcome(status, origin or number, f"said {status}") for name, status in statuses.items()
    }
    return TryRecord(number=number, max_tries=last, end=end, outcomes=outcomes)


def first(*nodes: str) -> Watch:
    return Watch(nodes=nodes or (NODE,))


def later(*parents: str, number: int = 0, failures: int = 0) -> Watch:
    """A later try, which was told of these tries of the producer."""
    return Watch(nodes=[NODE], is_first=False, told=Told(number=number, failures=failures), parents=parents)


@pytest.mark.parametrize("state", [*RUNNING, *BUILT])
@pytest.mark.parametrize(
    ("status", "action"),
    [
        *((status, Action.SUCCEED) for status in ("success", "pass", "warn", "no-op", "reused")),
        *((status, Action.FAIL) for status in ("error", "fail", "runtime error", "partial success")),
    ],
)
def test_a_node_that_has_ended_ends_its_task_at_once(status: str, action: Action, state: str | None) -> None:
    found = verdict(first(), a_try(orders=status), state)

    assert found.action is action
    assert f"{NODE}: {status}" in found.reason
    assert found.outcomes[NODE].status == status


@pytest.mark.parametrize("state", RUNNING)
@pytest.mark.parametrize("record", [None, a_try(), a_try(lines="success")], ids=["no-journal", "nothing", "another"])
@pytest.mark.parametrize("task", [first(), later()], ids=["first", "later"])
def test_a_node_of_which_nothing_is_said_waits_for_the_producer(
    task: Watch, record: TryRecord | None, state: str | None
) -> None:
    assert verdict(task, record, state).action is Action.WAIT


@pytest.mark.parametrize("record", [None, a_try(), a_try(lines="success")], ids=["no-journal", "nothing", "another"])
@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        ("success", Action.FAIL, "producer"),
        ("failed", Action.FAIL, "the producer has failed"),
        ("upstream_failed", Action.FAIL, "a task before the producer has failed"),
        ("removed", Action.FAIL, "the producer is removed"),
        ("skipped", Action.SKIP, "skipped"),
    ],
)
def test_a_node_of_which_nothing_is_said_is_never_green_when_the_producer_is_over(
    record: TryRecord | None, state: str, action: Action, words: str
) -> None:
    found = verdict(first(), record, state)

    assert found.action is action
    assert words in found.reason


@pytest.mark.parametrize(("state", "action"), [("upstream_failed", Action.FAIL), ("skipped", Action.SKIP)])
@pytest.mark.parametrize("record", [None, a_try(orders="error")], ids=["no-journal", "told-before"])
def test_no_later_try_runs_dbt_behind_a_producer_that_was_not_to_begin(
    record: TryRecord | None, state: str, action: Action
) -> None:
    assert verdict(later(), record, state).action is action


def test_the_sentence_about_a_failed_producer_names_what_failed() -> None:
    found = verdict(first(), a_try(lines="error"), "failed")

    assert found.reason == f"{NODE}: the producer has failed ({OTHER} failed), and dbt has not said what became of it."


def test_a_failed_task_shows_what_dbt_has_said() -> None:
    assert verdict(first(), a_try(orders="error"), "running").reason == f"{NODE}: error.\nsaid error"


@pytest.mark.parametrize("state", RUNNING)
def test_a_skipped_node_waits_for_the_next_try_of_the_producer(state: str | None) -> None:
    assert verdict(first(), a_try(orders="skipped"), state).action is Action.WAIT
    assert verdict(first(), a_try(2, orders="success"), state).action is Action.SUCCEED


@pytest.mark.parametrize("end", ["", "failed", "success"])
def test_a_skipped_node_is_skipped_where_no_try_follows(end: str) -> None:
    assert verdict(first(), a_try(2, last=1, end=end, orders="skipped"), "running").action is Action.SKIP
    assert verdict(first(), a_try(orders="skipped", end=end), "failed").action is Action.SKIP


def test_the_worst_of_several_nodes_counts() -> None:
    states = {"success": Action.SUCCEED, "skipped": Action.SKIP, "error": Action.FAIL}
    ranked = list(states)

    for one, other in itertools.product(states, states):
        worst = max(one, other, key=ranked.index)
        found = verdict(first(NODE, OTHER), a_try(last=0, orders=one, lines=other), "failed")
        assert found.action is states[worst], (one, other)


def test_all_nodes_of_a_task_must_be_known() -> None:
    assert verdict(first(NODE, OTHER), a_try(orders="error"), "running").action is Action.WAIT
    assert OTHER in verdict(first(NODE, OTHER), a_try(orders="success"), "failed").reason


def test_a_producer_that_never_began_makes_nothing_green() -> None:
    """Its XCom is there until its try begins."""
    for state, action in (("upstream_failed", Action.FAIL), ("skipped", Action.SKIP)):
        for task in (first(), later()):
            assert verdict(task, a_try(orders="success"), state).action is action


@pytest.mark.parametrize(
    ("task", "record", "while_it_runs", "when_it_is_over"),
    [
        pytest.param(later(failures=1), a_try(orders="error"), "wait", "run alone", id="told-the-failure"),
        pytest.param(later(failures=1), a_try(2, orders="error"), "fail", "fail", id="failed-once-more"),
        pytest.param(later(failures=1), a_try(2, orders="success"), "succeed", "succeed", id="done-since"),
        pytest.param(later(), a_try(orders="success"), "succeed", "succeed", id="timed-out-and-never-told"),
        pytest.param(later(number=1), a_try(orders="success"), "wait", "run alone", id="cleared-alone"),
        pytest.param(
            later(number=2),
            a_try(2, orders="success"),
            "wait",
            "run alone",
            id="cleared-alone-after-a-retry-of-the-producer",
        ),
        pytest.param(
            later(number=1),
            a_try(2, origin=1, orders="success"),
            "wait",
            "run alone",
            id="cleared-alone-while-the-producer-is-tried-again",
        ),
        pytest.param(
            later(number=1), a_try(2, last=2, orders="success"), "succeed", "succeed", id="cleared-with-the-producer"
        ),
        pytest.param(
            later(number=1),
            a_try(2, last=2),
            "wait",
            "run alone",
            id="cleared-with-the-producer-that-has-not-come-to-it",
        ),
        pytest.param(later(failures=3), a_try(4, orders="success"), "succeed", "succeed", id="others-tries"),
        pytest.param(later(failures=3), a_try(3, orders="error"), "wait", "run alone", id="more-tries-than-the-task"),
        pytest.param(later(failures=1), a_try(orders="skipped"), "wait", "run alone", id="told-that-it-was-skipped"),
        pytest.param(later(), None, "wait", "run alone", id="no-journal"),
    ],
)
def test_a_later_try_is_told_something_new_or_runs_its_node_alone(
    task: Watch, record: TryRecord | None, while_it_runs: str, when_it_is_over: str
) -> None:
    for state in RUNNING:
        assert verdict(task, record, state).action.value == while_it_runs, state
    for state in BUILT:
        assert verdict(task, record, state).action.value == when_it_is_over, state


def test_tests_of_which_some_were_done_before_count_together() -> None:
    record = a_try(2, lines="pass")
    record.outcomes[NODE] = NodeOutcome("pass", 1)
    task = Watch(nodes=[NODE, OTHER], is_first=False, told=Told(failures=1))

    assert verdict(task, record, "running").action is Action.SUCCEED


@pytest.mark.parametrize(
    ("states", "action", "asks"),
    [
        (None, Action.WAIT, True),
        ({"raw_run": "success", "lines_run": "running"}, Action.WAIT, True),
        ({"raw_run": "success", "lines_run": None}, Action.WAIT, True),
        ({"raw_run": "success", "lines_run": "success"}, Action.RUN_ALONE, False),
        *(({"raw_run": "success", "lines_run": state}, Action.FAIL, False) for state in sorted(OVER - {"success"})),
    ],
)
def test_a_node_runs_alone_only_behind_tasks_that_have_succeeded(
    states: dict[str, str | None] | None, action: Action, asks: bool
) -> None:
    found = verdict(later("raw_run", "lines_run"), None, "failed", states)

    assert (found.action, found.asks_parents) == (action, asks)


def test_a_later_try_runs_those_of_several_nodes_that_are_not_built() -> None:
    task = Watch(nodes=[NODE, OTHER], is_first=False)

    killed = verdict(task, a_try(orders="success"), "failed")
    failed = verdict(
        msgspec.structs.replace(task, told=Told(failures=1)), a_try(orders="success", lines="error"), "failed"
    )
    cleared = verdict(
        msgspec.structs.replace(task, told=Told(number=1)), a_try(orders="success", lines="success"), "success"
    )

    assert (killed.action, killed.done) == (Action.RUN_ALONE, frozenset({NODE}))
    assert (failed.action, failed.done) == (Action.RUN_ALONE, frozenset({NODE}))
    assert (cleared.action, cleared.done) == (Action.RUN_ALONE, frozenset())


@pytest.mark.parametrize("told", [Told(failures=1), Told(number=1)], ids=["retry", "cleared-alone"])
def test_no_later_try_builds_a_node_that_the_freshness_callback_calls_failed(told: Told) -> None:
    record = a_try(lines="success")
    record.outcomes[NODE] = NodeOutcome("error", message=f"{SAYS}'failed'")

    found = verdict(Watch(nodes=[NODE, OTHER], is_first=False, told=told), record, "failed")

    assert found.action is Action.FAIL
    assert "freshness_callback says 'failed'" in found.reason
    assert found.outcomes.keys() == {NODE}


def test_a_producer_that_is_cleared_meanwhile_keeps_nodes_from_running_alone() -> None:
    for state in RUNNING:
        found = verdict(later("raw_run"), None, state, {"raw_run": "success"})
        assert (found.action, found.asks_parents) == (Action.WAIT, False)


def test_what_nobody_has_written_down_is_what_was_there_by_then() -> None:
    first_try, second_try = a_try(orders="error"), a_try(2, orders="success")
    first_try.begun, second_try.begun = 5.0, 20.0

    assert told_by([NODE], None, cleared_at=None) == Told()
    assert told_by([NODE], first_try, cleared_at=None) == Told(failures=1)
    assert told_by([NODE], second_try, cleared_at=None) == Told(failures=2)
    assert told_by([NODE], second_try, cleared_at=10.0) == Told(number=1, failures=2)
    assert told_by([NODE], second_try, cleared_at=30.0) == Told(number=2, failures=2)
    assert told_by([OTHER], second_try, cleared_at=None) == Told()


def test_no_state_of_the_producer_makes_a_green_task_without_a_word_of_dbt() -> None:
    records = (None, a_try(), a_try(end="success"), a_try(orders="error"), a_try(orders="skipped"))
    tasks = (first(), later(), later(number=1), later(failures=1), later("raw_run"))
    for state, record, task in itertools.product([*RUNNING, *OVER], records, tasks):
        for parents in (None, {"raw_run": "success"}):
            assert verdict(task, record, state, parents).action is not Action.SUCCEED
