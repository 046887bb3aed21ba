"""One ``dbt build`` of several nodes as a task: only what is not done, and the truth about each node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from cosmos_venv.compat import AirflowException, AirflowSkipException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.command import FullOutputSubprocessResult
from cosmos_venv.dbt.results import FAILED_STATUSES, Artifacts
from cosmos_venv.operators.run.dbt_run import DbtResult, DbtRun, RunHooks, run_dbt_task
from cosmos_venv.operators.run.journal import DONE_STATUSES, Journal, Tries

MISSING = "missing"
"""The status of a node that was in the command and of which dbt has said nothing."""

_MOST_NAMES = 10
_SKIPPED = "skipped"
_XCOM = "dbt_nodes"


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of a batch.

    :param node: unique id.
    :param status: by dbt, or ``missing``.
    :param seconds: that it took; 0 where dbt has not said it.
    :param rows: that it changed, or found as a test; None where dbt has not said it.
    :param message: of dbt.
    :param try_number: in which it was run; 0: in an earlier one.
    """

    node: str
    status: str
    seconds: float = 0.0
    rows: int | None = None
    message: str = ""
    try_number: int = 0


def run_batch(run: DbtRun, hooks: RunHooks, nodes: Mapping[str, str]) -> DbtResult:
    """Build the nodes that no earlier try of the task has done.

    :param run: the run, with the command without a selection.
    :param hooks: the operator's own steps.
    :param nodes: unique id of each node and test to the text by which dbt selects it.
    :returns: what came of dbt: exit code 0 without output where everything was done before.
    :raises AirflowException: when a node has failed, or dbt has said nothing of it.
    :raises CosmosValueError: when a parameter of the operator cannot be followed, naming it.
    """
    tries = Tries.of(run.context)
    journal = Journal(tries, run.log)
    before = journal.begin()
    has_succeeded = False
    try:
        left = {each: text for each, text in nodes.items() if each not in before}
        if len(left) < len(nodes):
            run.log.info("Done by earlier tries of this task: %d of %d nodes.", len(nodes) - len(left), len(nodes))
        if not left:
            run.log.info("dbt does not run: everything is done.")
            result: DbtResult = FullOutputSubprocessResult(0, "", [])
        else:
            judge = _Judge(run=run, hooks=hooks, journal=journal, left=left, before=before, tries=tries)
            own = dataclasses.replace(hooks, judge=judge.judge)
            words = [*run.command, "--select", *dict.fromkeys(left.values())]
            if run.mode is InvocationMode.SUBPROCESS:
                words += ["--log-format", "json"]
            result = run_dbt_task(dataclasses.replace(run, command=words, on_node=journal.note), own)
        has_succeeded = True
        return result
    finally:
        journal.close(is_over=has_succeeded)


class _Judge(msgspec.Struct, frozen=True, kw_only=True):
    """Says whether the nodes of a batch have done well, when dbt has ended."""

    run: DbtRun
    hooks: RunHooks
    journal: Journal
    left: Mapping[str, str]
    before: Mapping[str, str]
    tries: Tries | None

    def judge(self, result: DbtResult, artifacts: Artifacts) -> None:
        """Raise where a node has failed, with the names of the nodes first.

        :param result: what came of dbt.
        :param artifacts: what dbt has left.
        """
        rows = self._rows(artifacts)
        self._show(rows)
        failed = [row for row in rows if row.status in FAILED_STATUSES]
        missing = [row for row in rows if row.status == MISSING]
        try:
            self.hooks.judge(result, artifacts)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            if len(missing) == len(self.left):  # dbt has failed before it came to the nodes
                raise
            raise type(error)(f"{_headline(rows, failed, missing)}\n{error}") from error
        if failed or missing:
            raise AirflowException(f"{_headline(rows, failed, missing)}\ndbt has ended without an error.")

    def _rows(self, artifacts: Artifacts) -> list[NodeRow]:
        number = self.tries.number if self.tries else 1
        results = artifacts.outcomes()
        found = {each: NodeRow(node=each, status=status) for each, status in self.before.items()}
        for each in self.left:
            row = NodeRow(node=each, status=MISSING, try_number=number)
            if (outcome := results.get(each)) is not None:
                row = replace(
                    row, status=outcome.status, seconds=outcome.seconds, rows=outcome.rows, message=outcome.message
                )
            elif (event := self.journal.ends.get(each)) is not None:
                row = replace(row, status=event.status, seconds=event.seconds, message=event.text)
            found[each] = row
        return list(found.values())

    def _show(self, rows: Sequence[NodeRow]) -> None:
        self.run.log.info("%s", _table(rows))
        ti: Any = self.run.context.get("ti")
        if ti is not None:
            try:
                ti.xcom_push(key=_XCOM, value=[msgspec.to_builtins(row) for row in rows])
            except Exception as error:  # noqa: BLE001 - whatever Airflow's store raises; dbt has done its work
                self.run.log.warning("The table of nodes cannot be pushed as XCom: %s", error)


def _headline(rows: Sequence[NodeRow], failed: Sequence[NodeRow], missing: Sequence[NodeRow]) -> str:
    """Which nodes have not done well, in a sentence."""
    skipped = sum(row.status == _SKIPPED for row in rows)
    done = sum(row.status in DONE_STATUSES for row in rows)
    parts = [f"{_joined(failed)} failed"] if failed else []
    parts += [f"dbt has said nothing of {_joined(missing)}"] if missing else []
    parts += [f"{skipped} skipped"] if skipped else []
    return f"{', '.join([*parts, f'{done} of {len(rows)} nodes done'])}."


def _name(row: NodeRow) -> str:
    return row.node.split(".", 2)[-1]


def _joined(rows: Sequence[NodeRow]) -> str:
    more = len(rows) - _MOST_NAMES
    return ", ".join(map(_name, rows[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def _table(rows: Sequence[NodeRow]) -> str:
    width = max(len(row.node) for row in rows)
    lines = (
        f"{row.node:<{width}}  {row.status:<8}  "
        + (f"{row.seconds:8.2f} s" if row.try_number else "    earlier")
        + (f"  {row.rows} rows" if row.rows is not None else "")
        for row in rows
    )
    return "\n".join(["Nodes of this batch:", *lines])
