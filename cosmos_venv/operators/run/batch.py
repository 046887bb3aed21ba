"""One ``dbt build`` of several nodes as a task: only what is not done, and the truth about each node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from cosmos_venv.compat import AirflowException, AirflowFailException, AirflowSkipException
from cosmos_venv.constants import NODES_XCOM, InvocationMode
from cosmos_venv.dbt.command import narrowing_flags, refuse_narrowing, without_flag
from cosmos_venv.dbt.log_lines import DONE_STATUSES, FAILED_STATUSES, WARNED
from cosmos_venv.dbt.results import Artifacts, NodeOutcome
from cosmos_venv.exceptions import CosmosDbtRunError
from cosmos_venv.operators.run.dbt_run import DbtResult, DbtRun, Judge
from cosmos_venv.operators.run.journal import Journal, NodeRow, Publish, Tries
from cosmos_venv.operators.run.journal_lines import FAILED, SKIPPED, SUCCESS
from cosmos_venv.operators.run.shared_record import Done

MISSING = "missing"
"""The status of a node that was in the command and of which dbt has said nothing."""

_MOST_NAMES = 10
_MOST_ROWS = 500  # of an XCom that nobody has asked for
_LONGEST_MESSAGE = 1_000  # a row is part of an XCom
_LOG_FORMAT = "--log-format"
_NOTHING_TO_RUN = "no-op"
# Others may take more than a text, so that none can be made with another one.
_WITH_A_TEXT = (AirflowException, AirflowFailException, CosmosDbtRunError)


def run_batch(
    task: Any,
    run: DbtRun,
    nodes: Mapping[str, str],
    *,
    build: Callable[[DbtRun, Judge], DbtResult],
    judge: Judge,
    publish: Publish | None = None,
) -> DbtResult:
    """Build the nodes that no earlier try of the task has done.

    :param task: the operator.
    :param run: the run, with the command without a selection.
    :param nodes: unique id of each node and test to the text by which dbt selects it.
    :param build: runs dbt.
    :param judge: raises where dbt has failed.
    :param publish: gets what the journal says, as a text, where other tasks watch this one.
    :returns: what came of dbt.
    :raises AirflowException: when a node has failed, or dbt has said nothing of it.
    :raises CosmosDbtRunError: likewise, where dbt ran in this process.
    :raises CosmosValueError: when a parameter of the operator cannot be followed, naming it.
    """
    # RenderConfig.exclude stands in the command where dbt chooses the tests (test_indirect_selection).
    flags = [flag for flag in narrowing_flags(run.command) if flag.partition("=")[0] != "--exclude"]
    refuse_narrowing([f"{flag} in the parameters of the operator" for flag in flags])
    journal = Journal(Tries.of(run.context), task.log, publish)
    journal.begin()
    before = _done_before(task, journal, nodes)
    attempt = _Try(log=task.log, run=run, build_run=build, judge=judge, journal=journal, nodes=nodes, before=before)
    is_over, end = False, FAILED
    try:
        result = attempt.build()
        is_over, end = True, SUCCESS
        return result
    except (AirflowSkipException, AirflowFailException):
        is_over = True  # Airflow does not try it again
        raise
    finally:
        journal.close(is_over=is_over, end=end)


def _done_before(task: Any, journal: Journal, nodes: Mapping[str, str]) -> dict[str, Done]:
    """The nodes that need not run, as earlier tries have left them."""
    done = {each: journal.done[each] for each in nodes if each in journal.done}
    if len(done) == len(nodes):
        # What failed then was a hook of the project, a callback or an upload: it needs the whole.
        task.log.info("Earlier tries have done all nodes, and failed after them: all nodes run again.")
        journal.start_anew(nodes)
        return {}
    if task.on_warning_callback is not None:
        # It is called when the task succeeds, with what this try's dbt says.
        warned = [each for each, found in done.items() if found.status == WARNED]
        journal.start_anew(warned)
        done = {each: found for each, found in done.items() if each not in warned}
    # dbt runs all that one text selects, such as tests of one fqn.
    texts = {text for each, text in nodes.items() if each not in done}
    again = [each for each in done if nodes[each] in texts]
    journal.start_anew(again)
    done = {each: found for each, found in done.items() if each not in again}
    if done:
        task.log.info("Done by earlier tries of this task: %d of %d nodes.", len(done), len(nodes))
    return done


class _Try(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a batch, with what those before it have left.

    :param log: the task's logger.
    :param run: the run, with the command without a selection.
    :param build_run: runs dbt.
    :param judge: raises where dbt has failed.
    :param journal: the journal, which is open.
    :param nodes: unique id of each node and test to the text by which dbt selects it.
    :param before: those of them that earlier tries have done.
    """

    log: Any  # Airflow has another type for it in each version
    run: DbtRun
    build_run: Callable[[DbtRun, Judge], DbtResult]
    judge: Judge
    journal: Journal
    nodes: Mapping[str, str]
    before: Mapping[str, Done]

    def build(self) -> DbtResult:
        """Run dbt and judge what came of it. :raises AirflowException: as ``run_batch`` does."""
        texts = dict.fromkeys(text for each, text in self.nodes.items() if each not in self.before)
        words = [*self.run.command, "--select", *texts]
        if self.run.mode is InvocationMode.SUBPROCESS:
            # dbt 2 refuses a flag that is given twice.
            words = [*without_flag(words, _LOG_FORMAT), _LOG_FORMAT, "json"]
        run = replace(
            self.run,
            command=words,
            push_node_rows=False,  # the table has more
            on_node=self.journal.note,
            on_tick=self.journal.write_shared,
            updated_before=[each for each, done in self.before.items() if done.status == "success"],
        )
        try:
            return self.build_run(run, self._judge)
        except Exception:
            if self.nodes.keys() <= self.journal.done.keys():
                self.journal.start_anew(self.nodes)  # what failed is no node: the next try runs everything
            raise

    def _judge(self, result: DbtResult, artifacts: Artifacts) -> None:
        """Raise where a node has failed, with the names of the nodes first."""
        rows, others = self._rows(artifacts)
        self.journal.record_results(row for row in rows if row.node not in self.before and row.status != MISSING)
        self._show([*rows, *others])
        failed = [row for row in (*rows, *others) if row.status in FAILED_STATUSES]
        missing = [row for row in rows if row.status == MISSING]
        if any(row.status in FAILED_STATUSES for row in others):
            self.journal.start_anew(self.nodes)  # a hook, or a test that dbt has added: it comes with its node alone
        headline = _headline(rows, failed, missing)
        try:
            self.judge(result, artifacts)
        except (AirflowException, CosmosDbtRunError) as error:
            has_begun = len(missing) < len(rows) - len(self.before)
            if type(error) not in _WITH_A_TEXT or not has_begun:
                raise
            # Its text holds that of the other: the log would show all of dbt's last lines twice.
            raise type(error)(f"{headline}\n{error}") from None
        if failed or missing:
            raise AirflowException(f"{headline}\ndbt has ended without an error.")

    def _rows(self, artifacts: Artifacts) -> tuple[list[NodeRow], list[NodeRow]]:
        """What became of the nodes of this batch; and of others that dbt has run with them, such as hooks."""
        results = artifacts.outcomes()
        rows = [
            NodeRow(node=each, status=self.before[each].status, try_number=self.before[each].try_number)
            if each in self.before
            else self._row(each, results.get(each))
            for each in self.nodes
        ]
        if any(row.status == MISSING for row in rows):
            empty = artifacts.without_sql()
            rows = [
                msgspec.structs.replace(row, status=_NOTHING_TO_RUN, message="It has no SQL.")
                if row.status == MISSING and row.node in empty
                else row
                for row in rows
            ]
        return rows, [self._row(each, found) for each, found in results.items() if each not in self.nodes]

    def _row(self, node: str, outcome: NodeOutcome | None) -> NodeRow:
        row = NodeRow(node=node, status=MISSING, try_number=self.journal.number)
        if outcome is not None:
            found: dict[str, Any] = {"status": outcome.status, "seconds": outcome.seconds, "rows": outcome.rows}
            return msgspec.structs.replace(row, **found, message=_shortened(outcome.message))
        # A dbt that was ended has written no results. dbt 2 leaves some failed nodes out of them.
        event = self.journal.ends.get(node)
        if event is None:
            return row
        return msgspec.structs.replace(row, status=event.status, seconds=event.seconds, message=_shortened(event.text))

    def _show(self, rows: Sequence[NodeRow]) -> None:
        self.log.info("%s", "\n".join(["Nodes of this batch:", *_table(rows, self.before)]))
        ti: Any = self.run.context.get("ti")
        if ti is not None:
            try:
                is_for_summary = self.run.push_node_rows
                started = {"started": self.run.how_started} if is_for_summary else {}
                told = told_rows(rows, are_all=is_for_summary)
                ti.xcom_push(key=NODES_XCOM, value=[{**row, **started} for row in told])
            except Exception as error:  # noqa: BLE001 - whatever Airflow's store raises; dbt has done its work
                self.log.warning("The table of nodes cannot be pushed as XCom: %s", error)


def told_rows(rows: Sequence[NodeRow], *, are_all: bool) -> list[dict[str, Any]]:
    """The rows of the table as an XCom: failures first, messages of nodes that are done left out.

    :param rows: of all nodes.
    :param are_all: whether all rows are told, for the table of the whole run, or the first ``_MOST_ROWS``.
    """
    ordered = sorted(rows, key=lambda row: row.status in DONE_STATUSES)
    kept = ordered if are_all else ordered[:_MOST_ROWS]
    return [
        msgspec.to_builtins(msgspec.structs.replace(row, message="") if row.status in DONE_STATUSES - {WARNED} else row)
        for row in kept
    ]


def _headline(rows: Sequence[NodeRow], failed: Sequence[NodeRow], missing: Sequence[NodeRow]) -> str:
    """Which nodes have not done well, in a sentence."""
    skipped = sum(row.status == SKIPPED for row in rows)
    done = sum(row.status in DONE_STATUSES for row in rows)
    parts = [f"{_joined(failed)} failed"] if failed else []
    parts += [f"dbt has said nothing of {_joined(missing)}"] if missing else []
    parts += [f"{skipped} skipped"] if skipped else []
    return f"{', '.join([*parts, f'{done} of {len(rows)} nodes done'])}."


def _joined(rows: Sequence[NodeRow]) -> str:
    more = len(rows) - _MOST_NAMES
    names = (row.node.split(".", 2)[-1] for row in rows[:_MOST_NAMES])
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} …"


def _table(rows: Sequence[NodeRow], before: Collection[str]) -> Iterator[str]:
    width = max(len(row.node) for row in rows)
    for row in rows:
        when = f"    try {row.try_number}" if row.node in before else f"{row.seconds:8.2f} s"
        yield f"{row.node:<{width}}  {row.status:<8}  {when}" + (f"  {row.rows} rows" if row.rows is not None else "")
