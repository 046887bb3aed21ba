"""The next step of a task that watches nodes: wait, end in a state, or run its nodes alone.

A pure function of three values: the producer's journal, Airflow's states of the producer and of the tasks before, and
the outcomes that earlier tries of the task have seen. A node without an outcome counts as failed: a green task without
a built node is the worst of all ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from cosmos_venv.dbt.log_lines import FAILED, SKIPPED, SUCCESS, NodeOutcome
from cosmos_venv.operators.run.journal_record import TryRecord

OVER = frozenset({SUCCESS, FAILED, SKIPPED, "upstream_failed", "removed"})
"""Airflow's states of a task that is not tried again by itself."""

LEFT_OUT = "freshness_callback has left it out of the build"
"""The message of a node that dbt was not told to build."""

SAYS = "freshness_callback says "
"""The beginning of the message of a node or source whose state comes from the callback.

The state ``skipped`` has the message ``LEFT_OUT`` instead.
"""

# A task before the producer has failed or was skipped: no node may be built after it.
_NOT_BEGUN = frozenset({SKIPPED, "upstream_failed"})
_RANKS = (FAILED, SKIPPED, SUCCESS)  # of several nodes the worst counts
_MOST_NAMES = 3


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The outcomes that earlier tries of a task were told: the present try needs something newer.

    Both numbers are the producer's. They are not compared with the task's own: the two may have been cleared apart.

    :param number: the newest try of the producer whose outcomes have ended the task; 0: none has.
    :param failures: the newest try of the producer whose failures an earlier try of the task has seen, or may have
        seen; 0: none.
    """

    number: int = 0
    failures: int = 0

    def leaves_out(self, outcome: NodeOutcome) -> bool:
        """Whether this try must not count an outcome, since an earlier try was told it.

        :param outcome: of one of its nodes.
        """
        newest = self.number if outcome.state == SUCCESS else max(self.number, self.failures)
        return outcome.try_number <= newest


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A try of a task that watches nodes.

    :param nodes: their unique ids.
    :param is_first: whether it is the task's first try.
    :param told: what the tries before it were told.
    :param parents: ids of the tasks that must be over before dbt runs for these nodes alone.
    :param wants_reasons: whether the task fails only when the producer's try is over: dbt 1 says at the end of a run
        why nodes have failed.
    """

    nodes: Sequence[str]
    is_first: bool = True
    told: Told = Told()
    parents: Sequence[str] = ()
    wants_reasons: bool = False


class Action(Enum):
    """The next step of a task."""

    WAIT = "wait"
    SUCCEED = "succeed"
    FAIL = "fail"
    SKIP = "skip"
    RUN_ALONE = "run alone"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The next step of a task, and its reason.

    :param action: the step.
    :param reason: a sentence for its log; empty where it waits.
    :param outcomes: of its nodes, by unique id, where they decide.
    :param done: nodes that the producer has built for this try; dbt runs for the task's other nodes.
    :param asks_parents: whether it waits for the tasks before it, whose states were not given or are not all over.
    """

    action: Action
    reason: str = ""
    outcomes: Mapping[str, NodeOutcome] = {}
    done: frozenset[str] = frozenset()
    asks_parents: bool = False


_WAIT = Verdict(action=Action.WAIT)


def verdict(
    task: Watch,
    record: TryRecord | None,
    producer_state: str | None,
    parents: Mapping[str, str | None] | None = None,
) -> Verdict:
    """The next step of a task.

    :param task: the task, in its present try.
    :param record: of the producer's newest try in this run; None: the journal has none.
    :param producer_state: Airflow's state of the producer; None: it has none yet, or was not asked.
    :param parents: Airflow's states of the tasks before this one, by task id; None: they were not asked.
    """
    if producer_state in _NOT_BEGUN:
        return _unsaid(task, record, producer_state)
    is_over = producer_state in OVER
    found = _ends_of(task.nodes, record)
    if record is not None and found and not any(map(task.told.leaves_out, found.values())):
        worst = min((each.state for each in found.values()), key=_RANKS.index)
        if worst == SKIPPED and not (is_over or record.is_last):
            return _WAIT  # the producer's next try builds it
        if worst == FAILED and task.wants_reasons and not (is_over or record.end):
            return _WAIT
        return _ended(worst, found)
    if not is_over:
        return _WAIT
    if task.is_first:
        return _unsaid(task, record, producer_state)
    return _alone(task, record, producer_state, parents)


def _ends_of(nodes: Sequence[str], record: TryRecord | None) -> dict[str, NodeOutcome]:
    """The outcomes of these nodes, by unique id; empty where one of them is not known."""
    known = {} if record is None else record.outcomes
    return {each: known[each] for each in nodes} if all(each in known for each in nodes) else {}


def told_by(nodes: Sequence[str], record: TryRecord | None, *, cleared_at: float | None) -> Told:
    """The outcomes that earlier tries may have been told, for a task without an XCom that says it.

    Each failure that the record has now counts as told.

    :param nodes: its nodes.
    :param record: of the producer's newest try; None: there is none.
    :param cleared_at: when somebody has cleared the task, in seconds since 1970: nodes that were done by then have to
        run again. None: its last try has failed, so it was told no success.
    """
    failures = max((each.try_number for each in _ends_of(nodes, record).values()), default=0)
    if record is None or cleared_at is None:
        return Told(failures=failures)
    return Told(number=record.number if record.begun < cleared_at else record.number - 1, failures=failures)


def _ended(worst: str, found: Mapping[str, NodeOutcome]) -> Verdict:
    if worst == SUCCESS:
        return Verdict(action=Action.SUCCEED, reason=f"{_listed(found)}.", outcomes=found)
    which = {node: each for node, each in found.items() if each.state == worst}
    if worst == SKIPPED:
        is_left_out = all(each.message == LEFT_OUT for each in which.values())
        why = LEFT_OUT if is_left_out else "a node that it reads, or a unit test of it, has failed"
        reason = f"{_listed(which)}: {why}."
        return Verdict(action=Action.SKIP, reason=reason, outcomes=found)
    messages = [f"\n{each.message}" for each in which.values() if each.message]
    return Verdict(action=Action.FAIL, reason=f"{_listed(which)}.{''.join(messages)}", outcomes=found)


def _alone(
    task: Watch, record: TryRecord | None, producer_state: str | None, parents: Mapping[str, str | None] | None
) -> Verdict:
    """Run dbt for the nodes alone, once the tasks before are over. Those tasks may have been cleared with this task."""
    known = {node: record.outcomes[node] for node in task.nodes if node in record.outcomes} if record else {}
    refused = {node: each for node, each in known.items() if each.state == FAILED and each.message.startswith(SAYS)}
    if refused:
        (why, *_) = (each.message for each in refused.values())
        reason = f"{_listed(refused)}: {why}. dbt does not run in this task: clear the producer, which asks again."
        return Verdict(action=Action.FAIL, reason=reason, outcomes=refused)
    if task.parents and (parents is None or any(state not in OVER for state in parents.values())):
        return Verdict(action=Action.WAIT, asks_parents=True)
    unfit = [f"{task_id} ({state})" for task_id, state in (parents or {}).items() if state != SUCCESS]
    if unfit:
        return Verdict(
            action=Action.FAIL, reason=f"dbt does not run in this task: before it stands {', '.join(unfit)}."
        )
    reason = f"The producer is over ({producer_state}) and has said nothing new for this try: dbt runs in this task."
    done = {node for node, each in known.items() if each.state == SUCCESS and not task.told.leaves_out(each)}
    return Verdict(action=Action.RUN_ALONE, reason=reason, done=frozenset(done))


def _unsaid(task: Watch, record: TryRecord | None, producer_state: str | None) -> Verdict:
    """The verdict where the producer was skipped or is upstream_failed, or is over without an outcome of each node."""
    if producer_state == SKIPPED:
        return Verdict(action=Action.SKIP, reason="The producer was skipped.")
    outcomes = {} if record is None else record.outcomes
    missing = [node for node in task.nodes if node not in outcomes]
    names = ", ".join(missing or task.nodes)
    if producer_state == "upstream_failed":
        return Verdict(action=Action.FAIL, reason=f"{names}: not built, since a task before the producer has failed.")
    failed = [node for node, each in outcomes.items() if each.state == FAILED][:_MOST_NAMES]
    why = "" if record is not None else " (its journal is empty)"
    why = f" ({', '.join(failed)} failed)" if failed else why
    how = {SUCCESS: "has succeeded", FAILED: "has failed"}.get(str(producer_state), f"is {producer_state}")
    what = f"the producer {how}{why}, and dbt has not said what became of it"
    why = f"\n{record.why}" if record is not None and record.why and not failed else ""
    return Verdict(action=Action.FAIL, reason=f"{names}: {what}.{why}")


def _listed(found: Mapping[str, NodeOutcome]) -> str:
    return ", ".join(f"{node}: {each.status}" for node, each in found.items())
