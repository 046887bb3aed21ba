"""What a task that watches nodes does next: wait, end in a state, or run its nodes alone.

Pure: what the journal of the producer says of the nodes, Airflow's state of the producer and the task's own try in, a
verdict out. A node of which nothing is said has failed: a green task without a built node is the worst of all ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from cosmos_venv.operators.run.journal_lines import FAILED, SKIPPED, SUCCESS, Outcome, TryRecord

OVER = frozenset({SUCCESS, FAILED, SKIPPED, "upstream_failed", "removed"})
"""Airflow's states of a task that is not tried again by itself."""

# A task before the producer has failed, or was skipped: nothing may be built behind it.
_NOT_BEGUN = frozenset({SKIPPED, "upstream_failed"})
_RANKS = (FAILED, SKIPPED, SUCCESS)  # of several nodes the worst counts


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A task that watches nodes.

    :param nodes: their unique ids.
    :param number: of the task's own try, from 1.
    :param since: when the try was asked for, in seconds since 1970: what is older is what the try before it was told.
    """

    nodes: Sequence[str]
    number: int
    since: float


class Action(Enum):
    """What the task does."""

    WAIT = "wait"
    SUCCEED = "succeed"
    FAIL = "fail"
    SKIP = "skip"
    RUN_ALONE = "run alone"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a task does, and why.

    :param action: what it does.
    :param reason: a sentence for its log; empty where it waits.
    :param outcomes: of its nodes, by unique id, where they decide.
    """

    action: Action
    reason: str = ""
    outcomes: Mapping[str, Outcome] = {}


_WAIT = Verdict(action=Action.WAIT)


def verdict(task: Waiting, tries: Sequence[TryRecord], producer_state: str | None) -> Verdict:
    """What a task does now.

    :param task: the task, in its present try.
    :param tries: of the producer in this run, in order, as far as the journal has them.
    :param producer_state: Airflow's state of the producer; None: it has none yet.
    """
    is_over = producer_state in OVER
    # A producer that was cleared builds everything again: what was before counts no more.
    present = [each for each in tries if each.last == tries[-1].last]
    newest = _newest_that_counts(task, present)
    if newest is not None:
        found = {each: newest.outcomes[each] for each in task.nodes}
        worst = min((each.state for each in found.values()), key=_RANKS.index)
        if worst == SKIPPED and not (is_over or newest.is_last):
            return _WAIT  # the producer's next try builds it
        return _ended(worst, found)
    if not is_over:
        return _WAIT
    if task.number > 1 and producer_state not in _NOT_BEGUN:
        return Verdict(
            action=Action.RUN_ALONE,
            reason=f"The producer is over ({producer_state}) and has said nothing that is for this try: "
            "dbt runs in this task.",
        )
    return _unsaid(task, present, producer_state)


def _newest_that_counts(task: Waiting, tries: Sequence[TryRecord]) -> TryRecord | None:
    """The newest try that has said something of all nodes which this try of the task may take for its own.

    A task that is tried again is owed more than what it was told before: what the producer has said since then, or that
    the producer has done after a failure. Clearing the task alone runs its nodes again, also those that were done.
    """
    said = [each for each in tries if all(node in each.outcomes for node in task.nodes)]
    if not said:
        return None
    newest, before = said[-1], said[:-1]
    if task.number <= tries[0].number:  # both have begun together
        return newest
    if max(newest.outcomes[node].at for node in task.nodes) >= task.since:
        return newest
    is_done = all(newest.outcomes[node].state == SUCCESS for node in task.nodes)
    has_failed = any(each.outcomes[node].state != SUCCESS for each in before for node in task.nodes)
    return newest if is_done and has_failed else None


def _ended(worst: str, found: Mapping[str, Outcome]) -> Verdict:
    if worst == SUCCESS:
        return Verdict(action=Action.SUCCEED, reason=f"{_listed(found)}.", outcomes=found)
    which = {node: each for node, each in found.items() if each.state == worst}
    if worst == SKIPPED:
        reason = f"{_listed(which)}: a node that it reads, or a unit test of it, has failed."
        return Verdict(action=Action.SKIP, reason=reason, outcomes=found)
    messages = [f"\n{each.message}" for each in which.values() if each.message]
    return Verdict(action=Action.FAIL, reason=f"{_listed(which)}.{''.join(messages)}", outcomes=found)


def _unsaid(task: Waiting, tries: Sequence[TryRecord], producer_state: str | None) -> Verdict:
    """A task whose producer is over and has not said what became of all of its nodes."""
    if producer_state == "skipped":
        return Verdict(action=Action.SKIP, reason="The producer was skipped.")
    missing = [node for node in task.nodes if not tries or node not in tries[-1].outcomes]
    names = ", ".join(missing or task.nodes)
    if producer_state == "upstream_failed":
        return Verdict(action=Action.FAIL, reason=f"{names}: not built, since a task before the producer has failed.")
    if producer_state == SUCCESS:
        how = (
            "the producer has succeeded and dbt has said nothing of it" if tries else "the producer's journal is empty"
        )
        return Verdict(action=Action.FAIL, reason=f"{names}: {how}, so it counts as failed.")
    failed = _failed_names(tries)
    why = f" ({failed} failed)" if failed else ""
    return Verdict(
        action=Action.FAIL, reason=f"{names}: the producer has failed{why} before dbt has said what became of it."
    )


def _failed_names(tries: Sequence[TryRecord]) -> str:
    outcomes = tries[-1].outcomes if tries else {}
    return ", ".join([node for node, each in outcomes.items() if each.state == FAILED][:3])


def _listed(found: Mapping[str, Outcome]) -> str:
    return ", ".join(f"{node}: {each.status}" for node, each in found.items())
