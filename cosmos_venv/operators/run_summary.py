"""The last task of a project in a DAG run: a table of its nodes, the artifacts of the run, and messages to owners.

Airflow treats the task as a teardown. It runs when all tasks are over, whatever their states. Neither the state of the
DAG run nor a task behind the group of the project depends on it. The results of nodes come from XComs of the tasks that
ran dbt; for a task without such an XCom, the state of the task counts.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cosmos_venv import compat
from cosmos_venv.compat import AirflowException, BaseOperator
from cosmos_venv.constants import NODES_XCOM, PRODUCER_WATCHER_TASK_ID, RUN_SUMMARY_TASK_ID, SELECT_TASK_ID, TEST_IDS
from cosmos_venv.dbt.log_lines import DONE_STATUSES, FAILED_STATUSES, WARNED

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_ROWS = 500
"""Number of rows in the table at the most: the table is an XCom, and each row is a line of the log."""

_SUCCESS = "success"
_FAILED = FAILED_STATUSES | {"failed", "upstream_failed", "missing"}
_NOT_RUN = frozenset({None, "upstream_failed", "removed"})
_SHOWN = ("node", "task", "state", "seconds", "rows", "started")
"""Fields of a row in the table. Only owners get the others: the table is an XCom, and messages are long."""
_ASKED_AT_ONCE = 100  # Airflow 3 puts the ids into a URL

Row = dict[str, Any]
"""The result of a node, as JSON:

- ``node``: unique id. For a task that dbt has not reported: the task's text in ``task_nodes``.
- ``task``: id of the task that the row comes from, below the group of the project.
- ``state``: dbt's status. Airflow's state of the task, where dbt has said nothing or the task has ended otherwise.
- ``seconds``: how long dbt took; None: not known.
- ``rows``: number of rows that the node changed, or found as a test; None: not known.
- ``started``: how dbt was started: ``warm``, ``runner`` or ``process``, which may give the reason why not warm.
- ``message``, ``compiled_path``: dbt's words, and the file of the SQL; empty where the task has not given them.
"""


class DbtRunSummaryOperator(BaseOperator):
    """The task with the table.

    :param task_nodes: id of each task, below the group of the project, to the unique id of its node, to those of a
        batch, or to some words.
    :param run_artifacts: id of the project's group; empty where the project is the whole DAG. Its tasks have kept
        dbt's results for the artifacts of the run. None: they have kept none.
    :param owners: unique ids of nodes to their owners.
    :param notify_owners: notifiers of Airflow, or functions, by owner; ``*``: for all others. Each is called with
        Airflow's context, in which ``dbt_owner`` is the owner and ``dbt_nodes`` a list of rows: ``node``, ``state``,
        ``task``, ``message``, ``compiled_path``, ``rows`` and ``seconds``.
    :param **kwargs: of Airflow's operators. ``outlets``, ``depends_on_past`` and ``wait_for_downstream`` are dropped:
        the task updates no table, and a failed table must not stop the runs that follow.
    """

    ui_color = "#DBCDF6"

    def __init__(
        self,
        *,
        task_nodes: Mapping[str, str | Sequence[str]],
        run_artifacts: str | None = None,
        owners: Mapping[str, str] | None = None,
        notify_owners: Mapping[str, Callable[..., object]] | None = None,
        **kwargs: Any,
    ) -> None:
        own: dict[str, Any] = {"outlets": None, "depends_on_past": False, "wait_for_downstream": False}
        if notify_owners:
            own["retries"] = 0  # a retry would notify all owners once more
        super().__init__(**{**kwargs, **own})
        self.task_nodes = dict(task_nodes)
        self.run_artifacts = run_artifacts
        self.owners = dict(owners or {})
        self.notify_owners = dict(notify_owners or {})
        self.as_teardown()

    def execute(self, context: Context) -> dict[str, Any]:
        """Log the table, and return it as XCom; make the artifacts of the run, and tell the owners.

        :param context: Airflow's context of the task.
        :raises AirflowException: when the artifacts could not be made. The owners have been told all the same.
        :raises Exception: of a notifier, when the others have been called.
        """
        told = rows_told(self.task_nodes, context, RUN_SUMMARY_TASK_ID)
        summary = shortened(told)
        self.log.info("%s", "\n".join(table(summary)))
        errors = [*self._join_artifacts(context, told), *self._notify(context, told)]
        if errors:
            context["ti"].xcom_push(key="return_value", value=summary)
            raise errors[0]
        return summary

    def _join_artifacts(self, context: Context, told: Sequence[Row]) -> Iterator[Exception]:
        """Make the artifacts of the run. Yields the errors."""
        if self.run_artifacts is None:
            return
        from cosmos_venv.operators.run.run_artifacts import folder_of_run, join_parts, results_of

        folder = folder_of_run(context, self.run_artifacts)
        try:
            number = join_parts(folder, results_of(told), self.log.warning)
        except OSError as error:
            yield AirflowException(f"The artifacts of the run are not made: {folder}: {error}")
            return
        if number:
            self.log.info("The artifacts of the run, with the results of %d nodes: %s", number, folder)
        else:
            yield AirflowException("The run has no artifacts: no task has results of dbt. Drop --no-write-json.")

    def _notify(self, context: Context, told: Sequence[Row]) -> Iterator[Exception]:
        """Call the notifiers of the owners. Yields the errors."""
        of_owner: defaultdict[str, list[Row]] = defaultdict(list)
        for row in told:
            if row["state"] in _FAILED - {"upstream_failed"} or row["state"] == WARNED:
                of_owner[self.owners.get(row["node"].removeprefix("tests of "), "")].append(row)
        for owner, rows in of_owner.items():
            notifier = self.notify_owners.get(owner, self.notify_owners.get("*"))
            try:
                if notifier is not None:
                    # A copy: a notifier of Airflow renders its templates in place, and several owners may share it.
                    copy.deepcopy(notifier)({**context, "dbt_owner": owner, "dbt_nodes": rows})
            except Exception as error:
                self.log.exception("The owner %r is not told of %d nodes", owner, len(rows))
                yield error


def rows_told(task_nodes: Mapping[str, str | Sequence[str]], context: Context, own_id: str) -> list[Row]:
    """The rows of the nodes of a project that the run has chosen, failures first.

    :param task_nodes: id of each task, below the group of the project, to what it runs.
    :param context: Airflow's context of a task behind these.
    :param own_id: the id of that task, below the group of the project.
    """
    ti: Any = context["ti"]
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
    prefix = ti.task_id.removesuffix(own_id)
    ids = [f"{prefix}{each}" for each in (SELECT_TASK_ID, *task_nodes)]
    states: dict[str, str | None] = {}
    for first in range(0, len(ids), _ASKED_AT_ONCE):
        found = compat.task_states(ids[first : first + _ASKED_AT_ONCE], **place)
        states |= {each.removeprefix(prefix): state for each, state in found.items()}
    if states[SELECT_TASK_ID] == _SUCCESS:
        from cosmos_venv.operators.run.run_request import XCOM  # few DAGs let runs choose

        # As in dbt, there is no result of a node that the run has not chosen.
        unchosen = {*(compat.xcom(XCOM, task_id=ids[0], **place) or {}).get("skipped", ())}
        task_nodes = {each: node for each, node in task_nodes.items() if f"{prefix}{each}" not in unchosen}
    pushed = {
        each: compat.xcom(NODES_XCOM, task_id=f"{prefix}{each}", **place) or ()
        for each in task_nodes
        if states[each] not in _NOT_RUN
    }
    return rows_of_run(task_nodes, states, pushed)


def rows_of_run(
    task_nodes: Mapping[str, str | Sequence[str]],
    states: Mapping[str, str | None],
    pushed: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Row]:
    """The rows of all nodes of a project, failures first.

    :param task_nodes: id of each task to what it runs.
    :param states: Airflow's states of the tasks; None: there is none yet.
    :param pushed: the rows that tasks have pushed after they ran dbt.
    """
    by_watching = {row["node"] for task, rows in pushed.items() for row in rows if task != PRODUCER_WATCHER_TASK_ID}
    found: list[Row] = []
    for task, rows in pushed.items():
        # A row of any other task is newer: that task ran dbt for its node alone, after the producer.
        is_newest = task != PRODUCER_WATCHER_TASK_ID
        found += [_row(task, row) for row in rows if is_newest or row["node"] not in by_watching]
    done: set[str] = set()
    not_done: set[str] = set()
    for row in found:
        (done if row["state"] in DONE_STATUSES else not_done).update((row["node"], row["task"]))
    for task, nodes in task_nodes.items():
        state = states.get(task) or "none"
        if not isinstance(nodes, str):  # a batch has rows of all its nodes, unless it was killed or has not run
            if state != _SUCCESS:
                missing = [node for node in nodes if node not in done and node not in not_done]
                found += [_row(task, {"node": node, "status": state}) for node in missing]
            continue
        known = done if state == _SUCCESS else not_done
        if nodes not in known and task not in known and not (state == _SUCCESS and " " in nodes):
            found.append(_row(task, {"node": nodes, "status": state}))
    return sorted(found, key=_order)


def shortened(found: Sequence[Row]) -> dict[str, Any]:
    """The table of a run.

    :param found: the rows of all nodes, in order.
    :returns: how many ``nodes`` and how many ``tests`` are in each state; the first ``MOST_ROWS`` of the ``rows``, in
        which tests that have passed are only counted; how many rows are ``left_out``.
    """
    shown = [row for row in found if not _is_test(row) or row["state"] not in DONE_STATUSES or row["state"] == WARNED]
    return {
        "nodes": _counted(row for row in found if not _is_test(row)),
        "tests": _counted(row for row in found if _is_test(row)),
        "rows": [{name: row[name] for name in _SHOWN} for row in shown[:MOST_ROWS]],
        "left_out": max(len(shown) - MOST_ROWS, 0),
    }


def _row(task: str, said: Mapping[str, Any]) -> Row:
    seconds = said.get("seconds")
    return {
        "node": said["node"],
        "task": task,
        "state": said["status"],
        "seconds": None if seconds is None else round(seconds, 2),
        "rows": said.get("rows"),
        **{name: said.get(name) or "" for name in ("started", "message", "compiled_path")},
    }


def _is_test(row: Row) -> bool:
    return str(row["node"]).startswith(TEST_IDS)


def _order(row: Row) -> tuple[int, float, str, str]:
    if row["state"] in _FAILED:
        rank = 0
    elif row["state"] == WARNED:
        rank = 1
    else:
        rank = 3 if row["state"] in DONE_STATUSES else 2
    return rank, -(row["seconds"] or 0.0), row["node"], row["task"]


def _counted(rows: Iterator[Row]) -> dict[str, int]:
    return dict(Counter(row["state"] for row in rows).most_common())


def table(summary: Mapping[str, Any]) -> Iterator[str]:
    """A summary as lines of text.

    :param summary: of ``shortened``.
    """
    for name, counts in (("Nodes", summary["nodes"]), ("Tests", summary["tests"])):
        if counts:
            yield f"{name}: {', '.join(f'{number} {state}' for state, number in counts.items())}."
    width = max((len(row["node"]) for row in summary["rows"]), default=0)
    for row in summary["rows"]:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.2f} s"
        rows = "" if row["rows"] is None else f"{row['rows']} rows"
        yield f"{row['node']:<{width}}  {row['state']:<15}  {seconds:>10}  {rows:>12}  {row['started']}".rstrip()
    if summary["left_out"]:
        yield f"and {summary['left_out']} more"
