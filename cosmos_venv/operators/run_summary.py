"""The last task of a project in a DAG run: a table of what became of its nodes.

It is a teardown for Airflow: it runs when all tasks are over, whatever became of them, and neither the state of the DAG
run nor a task behind the group of the project depends on it. What dbt has said of nodes comes from XComs of the tasks
that ran it; where there is none, the state of the task counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv import compat
from cosmos_venv.compat import BaseOperator
from cosmos_venv.constants import NODES_XCOM, PRODUCER_WATCHER_TASK_ID, RUN_SUMMARY_TASK_ID, TEST_IDS
from cosmos_venv.dbt.log_lines import DONE_STATUSES, FAILED_STATUSES, WARNED

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_ROWS = 500
"""Rows of the table. It is an XCom, and a line of the log each."""

_SUCCESS = "success"
_FAILED = FAILED_STATUSES | {"failed", "upstream_failed", "missing"}
_NOT_RUN = frozenset({None, "upstream_failed", "removed"})
_ASKED_AT_ONCE = 100  # Airflow 3 puts the ids into a URL


class SummaryRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a node.

    :param node: unique id; of a task of which dbt has said nothing, what it runs.
    :param task: id of the task that has said it, below the group of the project.
    :param state: by dbt; by Airflow, where dbt has said nothing or the task has ended otherwise.
    :param seconds: that dbt took; None where it has not said it.
    :param rows: that it changed, or found as a test; None where dbt has not said it.
    :param started: how dbt was started: ``warm``, ``runner``, ``process``, or this with the reason why not warm.
    """

    node: str
    task: str
    state: str
    seconds: float | None = None
    rows: int | None = None
    started: str = ""

    @property
    def is_test(self) -> bool:
        """Whether it is a test of dbt."""
        return self.node.startswith(TEST_IDS)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all nodes.

    :param nodes: how many nodes, without tests, are in each state.
    :param tests: how many tests are in each state.
    :param rows: failures first, then warnings and what was skipped, then what took longest. Tests that have passed are
        only counted.
    :param left_out: how many rows there would be beyond ``MOST_ROWS``.
    """

    nodes: dict[str, int]
    tests: dict[str, int]
    rows: list[SummaryRow]
    left_out: int = 0


class DbtRunSummaryOperator(BaseOperator):
    """The task with the table.

    :param task_nodes: id of each task, below the group of the project, to what it runs: a unique id, or some words.
    :param **kwargs: of Airflow's operators.
    """

    ui_color = "#DBCDF6"

    def __init__(self, *, task_nodes: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task_nodes = dict(task_nodes)
        self.as_teardown()

    def execute(self, context: Context) -> dict[str, Any]:
        """Log the table, and return it as XCom.

        :param context: Airflow's context of the task.
        """
        ti: Any = context["ti"]
        place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
        prefix = ti.task_id.removesuffix(RUN_SUMMARY_TASK_ID)
        ids = [f"{prefix}{each}" for each in self.task_nodes]
        states: dict[str, str | None] = {}
        for first in range(0, len(ids), _ASKED_AT_ONCE):
            found = compat.task_states(ids[first : first + _ASKED_AT_ONCE], **place)
            states |= {each.removeprefix(prefix): state for each, state in found.items()}
        pushed = {
            each: compat.xcom(NODES_XCOM, task_id=f"{prefix}{each}", **place) or ()
            for each in self.task_nodes
            if states[each] not in _NOT_RUN
        }
        summary = summary_of(self.task_nodes, states, pushed)
        self.log.info("%s", "\n".join(table(summary)))
        told: dict[str, Any] = msgspec.to_builtins(summary)
        return told


def summary_of(
    task_nodes: Mapping[str, str],
    states: Mapping[str, str | None],
    pushed: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Summary:
    """What became of all nodes of a project.

    :param task_nodes: id of each task to what it runs.
    :param states: Airflow's states of the tasks; None: there is none yet.
    :param pushed: what tasks that ran dbt say of their nodes.
    """
    by_watching = {row["node"] for task, rows in pushed.items() for row in rows if task != PRODUCER_WATCHER_TASK_ID}
    found: list[SummaryRow] = []
    for task, rows in pushed.items():
        # A task that watches the producer has run dbt for its node alone since.
        is_newest = task != PRODUCER_WATCHER_TASK_ID
        found += [_row(task, row) for row in rows if is_newest or row["node"] not in by_watching]
    done: set[str] = set()
    not_done: set[str] = set()
    for row in found:
        (done if row.state in DONE_STATUSES else not_done).update((row.node, row.task))
    for task, node in task_nodes.items():
        state = states.get(task) or "none"
        known = done if state == _SUCCESS else not_done
        if node not in known and task not in known and not (state == _SUCCESS and " " in node):
            found.append(SummaryRow(node=node, task=task, state=state))
    found.sort(key=_order)
    shown = [row for row in found if not row.is_test or row.state not in DONE_STATUSES or row.state == WARNED]
    return Summary(
        nodes=_counted(row for row in found if not row.is_test),
        tests=_counted(row for row in found if row.is_test),
        rows=shown[:MOST_ROWS],
        left_out=max(len(shown) - MOST_ROWS, 0),
    )


def _row(task: str, said: Mapping[str, Any]) -> SummaryRow:
    seconds = said.get("seconds")
    return SummaryRow(
        node=said["node"],
        task=task,
        state=said["status"],
        seconds=None if seconds is None else round(seconds, 2),
        rows=said.get("rows"),
        started=said.get("started") or "",
    )


def _order(row: SummaryRow) -> tuple[int, float, str, str]:
    if row.state in _FAILED:
        rank = 0
    elif row.state == WARNED:
        rank = 1
    else:
        rank = 3 if row.state in DONE_STATUSES else 2
    return rank, -(row.seconds or 0.0), row.node, row.task


def _counted(rows: Iterator[SummaryRow]) -> dict[str, int]:
    return dict(Counter(row.state for row in rows).most_common())


def table(summary: Summary) -> Iterator[str]:
    """A summary as lines of text.

    :param summary: the summary.
    """
    for name, counts in (("Nodes", summary.nodes), ("Tests", summary.tests)):
        if counts:
            yield f"{name}: {', '.join(f'{number} {state}' for state, number in counts.items())}."
    width = max((len(row.node) for row in summary.rows), default=0)
    for row in summary.rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.2f} s"
        rows = "" if row.rows is None else f"{row.rows} rows"
        yield f"{row.node:<{width}}  {row.state:<15}  {seconds:>10}  {rows:>12}  {row.started}".rstrip()
    if summary.left_out:
        yield f"and {summary.left_out} more"
