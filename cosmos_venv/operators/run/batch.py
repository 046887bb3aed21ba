"""A task that runs one ``dbt build`` of several nodes: it builds nodes that are not done, and reports on each node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cosmos_venv.compat import AirflowException, AirflowFailException, AirflowSkipException, task_state
from cosmos_venv.constants import SOURCE_IDS, InvocationMode
from cosmos_venv.dbt.command import narrowing_flags, refuse_narrowing, without_flag
from cosmos_venv.dbt.log_lines import FAILED, FAILED_STATUSES, SKIPPED, SUCCESS, WARNED, NodeOutcome
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.dbt.selection_texts import selected_with
from cosmos_venv.exceptions import CosmosDbtRunError
from cosmos_venv.operators.run.dbt_run import DbtResult, DbtRun
from cosmos_venv.operators.run.journal import Journal, present_try
from cosmos_venv.operators.run.journal_record import TryRecord
from cosmos_venv.operators.run.post_run import push_rows
from cosmos_venv.operators.run.run_steps import Look, run_in_workspace

MISSING = NodeOutcome("missing")
"""The outcome of a node that was in the command, but that dbt has not reported."""

_MOST_NAMES = 10
_LOG_FORMAT = "--log-format"
_NOTHING_TO_RUN = NodeOutcome("no-op", message="It has no SQL.")
# The constructors of these take only a text. Other exceptions may need more, so no new one can be made of them.
_WITH_A_TEXT = (AirflowException, AirflowFailException, CosmosDbtRunError)

Outcomes = Mapping[str, NodeOutcome]
"""By unique id of the node."""


def run_batch(run: DbtRun) -> DbtResult:
    """Build the nodes that no earlier try of the task has done.

    :param run: the run of the ``DbtBatchLocalOperator`` whose ``nodes`` are built, its command without a selection.
    :returns: dbt's result.
    :raises AirflowException: when a node has failed, or dbt has said nothing of it.
    :raises CosmosDbtRunError: for the same reasons, where dbt ran in this process.
    :raises CosmosValueError: when a parameter of the operator cannot be followed, naming it.
    """
    task = run.task
    # RenderConfig.exclude stands in the command where dbt chooses the tests (test_indirect_selection).
    flags = [flag for flag in narrowing_flags(run.command) if flag.partition("=")[0] != "--exclude"]
    refuse_narrowing([f"{flag} in the parameters of the operator" for flag in flags])
    ti: Any = run.context.get("ti") if task.is_watched else None
    push_xcom = None if ti is None else lambda key, value: ti.xcom_push(key=key, value=value)
    journal = Journal(*present_try(run.context), task.log, push_xcom, task_state(run.context))
    before = done_before(task, journal.earlier())
    journal.begin(before)

    def choose(look: Look) -> list[str] | None:
        nodes = _without(task._leave_out(run.context, look), task.nodes, journal, before)
        words = [*run.command, "--select", *dict.fromkeys(task.nodes[each] for each in nodes)]
        if run.mode is InvocationMode.SUBPROCESS:
            # dbt 2 refuses a flag that is given twice.
            words = [*without_flag(words, _LOG_FORMAT), _LOG_FORMAT, "json"]
        return words if nodes else None

    ended: dict[str, NodeOutcome] = {}

    def judge_nodes(result: DbtResult, artifacts: Artifacts) -> None:
        own, others = outcomes_of(task.nodes, journal, before, artifacts)
        found = {**own, **others}
        if task.nodes.keys() & journal.record.outcomes.keys() - before:  # else dbt has run none of its nodes
            ended.update(found)
        task.log.info("%s", "\n".join(["Nodes of this batch:", *_table(found, before)]))
        push_rows(run, found, artifacts)
        _refuse_failed(own, others, before, lambda: task._judge(result, artifacts))

    is_over, end, why = False, FAILED, ""
    try:
        watched = replace(run, on_node=journal.note, on_tick=journal.write_copies)
        result = run_in_workspace(watched, judge_nodes, choose, ended=lambda left: ended or left.outcomes())
        is_over, end = True, SUCCESS
        return result
    except Exception as error:
        is_over = isinstance(error, AirflowSkipException | AirflowFailException)  # no other try
        why = str(error) if task.retry_on else ""
        raise
    finally:
        journal.close(is_over=is_over, end=end, why=why)


def done_before(task: Any, earlier: TryRecord | None) -> dict[str, NodeOutcome]:
    """The nodes that need not run, with their outcomes in earlier tries.

    :param task: the ``DbtBatchLocalOperator``.
    :param earlier: the record of the try before; None: there is none.
    """
    nodes: Mapping[str, str] = task.nodes
    # A stale source is checked again in each try, whatever the nodes' outcomes.
    outcomes = earlier.outcomes if earlier else {}
    known = {each: found for each, found in outcomes.items() if not each.startswith(SOURCE_IDS)}
    done = {each: known[each] for each in nodes if each in known and known[each].state == SUCCESS}
    if len(done) == len(nodes) or any(each.state == FAILED for node, each in known.items() if node not in nodes):
        # Hooks and other tests that run with the nodes cannot run alone.
        task.log.info("Earlier tries have failed after their nodes, or in a hook or another test: all nodes run again.")
        return {}
    if any(each in known and known[each].state == FAILED for each in task.continuing):
        task.log.info("A model with on_error: continue has failed in an earlier try: all nodes run again.")
        return {}
    # on_warning_callback sees only this try, so nodes with warnings run again.
    hears_of_warnings = task.on_warning_callback is not None
    again = {each for each, found in done.items() if hears_of_warnings and found.status == WARNED}
    run = {*selected_with((each for each in nodes if each in again or each not in done), nodes)}
    done = {each: found for each, found in done.items() if each not in run}
    if done:
        task.log.info("Done by earlier tries of this task: %d of %d nodes.", len(done), len(nodes))
    return done


def _without(
    left_out: Outcomes, nodes: Mapping[str, str], journal: Journal, before: dict[str, NodeOutcome]
) -> list[str]:
    """Return the nodes that dbt builds. Outcomes of nodes that are left out go into the journal and into ``before``."""
    wanted = [each for each in nodes if each not in left_out]
    found = [each for each in wanted if each not in before]
    is_failed = any(each.state == FAILED for each in left_out.values())  # set by the callback: a build changes nothing
    if before and not found and not is_failed:  # an earlier try has failed after its nodes
        found = wanted
        before.clear()
    settled = {*before, *selected_with(found, nodes)}
    journal.record_results({each: outcome for each, outcome in left_out.items() if each not in settled})
    before.update((each, journal.record.outcomes[each]) for each in nodes if each in left_out and each not in settled)
    return found


def outcomes_of(
    nodes: Mapping[str, str], journal: Journal, before: Outcomes, artifacts: Artifacts
) -> tuple[dict[str, NodeOutcome], dict[str, NodeOutcome]]:
    """The outcomes of the nodes of a batch, and of other nodes that dbt has run with them, such as hooks.

    A dbt that was ended has written no results, and dbt 2 leaves some failed nodes out of them. In both cases dbt's
    events count.

    :param nodes: the nodes.
    :param journal: has dbt's events. The outcomes in the artifacts are added to it.
    :param before: the nodes that earlier tries have done.
    :param artifacts: the artifacts that dbt has left.
    """
    results = {each: found for each, found in artifacts.outcomes().items() if each not in before}
    journal.record_results(results)
    if not nodes.keys() <= journal.record.outcomes.keys():
        empty = artifacts.without_sql() & nodes.keys() - journal.record.outcomes.keys()
        journal.record_results(dict.fromkeys(empty, _NOTHING_TO_RUN))
    known = journal.record.outcomes
    return {each: known.get(each, MISSING) for each in nodes}, {
        each: known[each] for each in results if each not in nodes
    }


def _refuse_failed(own: Outcomes, others: Outcomes, before: Outcomes, judge: Callable[[], object]) -> None:
    """Raise where a node has failed, with the names of the nodes first."""
    failed = [each for each, found in {**own, **others}.items() if found.status in FAILED_STATUSES]
    missing = [each for each, found in own.items() if found is MISSING]
    headline = _headline(own, failed, missing)
    try:
        judge()
    except (AirflowException, CosmosDbtRunError) as error:
        has_begun = len(missing) < len(own) - len(before)
        if type(error) not in _WITH_A_TEXT or not has_begun:
            raise
        # The new text contains the text of ``error``; with both in the log, dbt's last lines would be there twice.
        raise type(error)(f"{headline}\n{error}") from None
    if failed or missing:
        raise AirflowException(f"{headline}\ndbt has ended without an error.")


def _headline(own: Outcomes, failed: list[str], missing: list[str]) -> str:
    """A sentence that names the failed nodes and the nodes without an outcome."""
    skipped = sum(found.state == SKIPPED for found in own.values())
    done = sum(found.state == SUCCESS for found in own.values())
    parts = [f"{_joined(failed)} failed"] if failed else []
    parts += [f"dbt has said nothing of {_joined(missing)}"] if missing else []
    parts += [f"{skipped} skipped"] if skipped else []
    return f"{', '.join([*parts, f'{done} of {len(own)} nodes done'])}."


def _joined(nodes: list[str]) -> str:
    more = len(nodes) - _MOST_NAMES
    names = (node.split(".", 2)[-1] for node in nodes[:_MOST_NAMES])
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _table(outcomes: Outcomes, before: Outcomes) -> Iterator[str]:
    width = max(map(len, outcomes))
    for node, each in outcomes.items():
        when = f"    try {each.try_number}" if node in before else f"{each.seconds:8.2f} s"
        yield f"{node:<{width}}  {each.status:<8}  {when}" + (f"  {each.rows} rows" if each.rows is not None else "")
