"""The values of ``cosmos_run_dag`` and ``cosmos_run_task``: one run, one task, or the runs of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from unittest import mock

from pytest_cosmos_venv.airflow import clock
from pytest_cosmos_venv.airflow.clock import instant_of
from pytest_cosmos_venv.airflow.outcomes import DagOutcome, TaskOutcome
from pytest_cosmos_venv.airflow.versions import this_airflow
from pytest_cosmos_venv.errors import RecordList, ToolkitMisuse
from pytest_cosmos_venv.runs.running import Attempts, run_dag, run_task

_MOST_RUNS = 1000
_PREPARES = ("pytest_cosmos_venv.prepared_airflow",)


@dataclass(frozen=True)
class RunDag:
    """The function that the fixture ``cosmos_run_dag`` gives; it keeps each outcome for the report of the test.

    :param outcomes: the list to which each outcome is added.
    :param attempts: the faults of the test; None: it has none.
    """

    prepares: ClassVar[tuple[str, ...]] = _PREPARES
    outcomes: list[DagOutcome | TaskOutcome]
    attempts: Attempts | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # A contender of a race gets it without the outcomes, and hands back its own.
        return RunDag, ([],)

    def __call__(
        self,
        dag: Any,
        *,
        logical_date: datetime | str | None = None,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        raise_on_failure: bool = False,
    ) -> DagOutcome:
        """Run the DAG to its end.

        :param dag: a DAG.
        :param logical_date: a moment, or a string such as ``2026-01-01``, in UTC unless it says so. Default: now.
        :param run_id: the id of the run. Default: the one that Airflow makes up.
        :param conf: the configuration of the run; ``params`` take their values from it.
        :param raise_on_failure: whether a run that fails raises ``AssertionError`` with the table.
        """
        outcome = run_dag(dag, logical_date=logical_date, run_id=run_id, conf=conf, attempts=self.attempts)
        self.outcomes.append(outcome)
        if raise_on_failure:
            first = next((task.exception for task in outcome.tasks.values() if task.exception), None)
            _raise_unless(outcome, first)
        return outcome

    def catch_up(
        self,
        dag: Any,
        *,
        until: datetime | str,
        since: datetime | str | None = None,
        backwards: bool = False,
        conf: Mapping[str, Any] | None = None,
        raise_on_failure: bool = False,
    ) -> list[DagOutcome]:
        """Run a DAG once for each data interval of its schedule, each with the clock standing at the moment at which a
        scheduler would begin that run.

        A ``cosmos_clock`` that shows another time than the real one stands at the last of these moments afterwards.

        :param dag: a DAG with a schedule.
        :param until: no run begins after this moment; a moment or a string such as ``2026-04-01``. No data interval
            begins after the end date of the DAG either.
        :param since: no data interval begins before this moment. Default: the start date of the DAG.
        :param backwards: whether the latest run comes first, as in a backfill with ``run_backwards``.
        :param conf: the configuration of all runs.
        :param raise_on_failure: whether a run that fails raises ``AssertionError`` with the table.
        :returns: the outcomes, in the order of the runs.
        """
        first = None if since is None else instant_of(since, parameter="since")
        runs = _intervals_between(dag, first, instant_of(until, parameter="until"))
        kind = type(this_airflow().timetable_of(dag))
        found: list[DagOutcome] = []
        with clock.clock_of_runs() as stands:
            for run in reversed(runs) if backwards else runs:
                stands.freeze(run.run_after)
                interval = run.data_interval
                # dag.test() would take the interval before the logical date.
                with mock.patch.object(kind, "infer_manual_data_interval", lambda *_, of=interval, **__: of):
                    found.append(self(dag, logical_date=interval.start, conf=conf, raise_on_failure=raise_on_failure))
        return RecordList(found, of="catch_up()", none="there was no run", word=repr)


@dataclass(frozen=True)
class RunTask:
    """The function that the fixture ``cosmos_run_task`` gives; it keeps each outcome for the report of the test.

    :param outcomes: the list to which each outcome is added.
    :param attempts: the faults of the test; None: it has none.
    """

    prepares: ClassVar[tuple[str, ...]] = _PREPARES
    outcomes: list[DagOutcome | TaskOutcome]
    attempts: Attempts | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return RunTask, ([],)

    def __call__(
        self,
        operator: Any,
        *,
        logical_date: datetime | str | None = None,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        raise_on_failure: bool = False,
    ) -> TaskOutcome:
        """Run the task to its end.

        :param operator: an operator; of a DAG with other tasks only this one runs.
        :param logical_date: a moment, or a string such as ``2026-01-01``, in UTC unless it says so. Default: now.
        :param run_id: the id of the run. Default: the one that Airflow makes up.
        :param conf: the configuration of the run; ``params`` take their values from it.
        :param raise_on_failure: whether a task that fails raises ``AssertionError`` with the table.
        """
        outcome = run_task(operator, logical_date=logical_date, run_id=run_id, conf=conf, attempts=self.attempts)
        self.outcomes.append(outcome)
        if raise_on_failure:
            _raise_unless(outcome, outcome.exception)
        return outcome


def _raise_unless(outcome: DagOutcome | TaskOutcome, error: BaseException | None) -> None:
    if not outcome.succeeded:
        raise AssertionError(str(outcome)) from error


def _intervals_between(dag: Any, since: datetime | None, until: datetime) -> list[Any]:
    """Return the runs that a scheduler would make for a DAG, as the DAG's own timetable says, each with ``run_after``
    and ``data_interval``.

    :param dag: a DAG with a schedule.
    :param since: the moment at which the first data interval may begin; None: the start date of the DAG.
    :param until: the moment up to which a scheduler would be at work: no run begins later.
    :raises ToolkitMisuse: there are no such runs, or more than a test can run.
    """
    from airflow.timetables.base import TimeRestriction

    timetable = this_airflow().timetable_of(dag)
    starts = [start for start in (dag.start_date, *(task.start_date for task in dag.tasks)) if start is not None]
    earliest = max([*([] if since is None else [since]), *([min(starts)] if starts else [])], default=None)
    if earliest is None:
        raise ToolkitMisuse(f"DAG {dag.dag_id!r} has no start_date: give since=, such as '2026-01-01'.")
    latest: Any = _end_of(dag)  # a DateTime of pendulum's, which Airflow makes of each date
    restriction = TimeRestriction(earliest=earliest, latest=latest, catchup=True)
    found: list[Any] = []
    last = None
    while len(found) <= _MOST_RUNS:
        run = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if run is None or run.run_after > until:
            break
        found.append(run)
        last = run.data_interval
    between = f"between {earliest.isoformat()} and {until.isoformat()}"
    if len(found) > _MOST_RUNS:
        raise ToolkitMisuse(f"DAG {dag.dag_id!r} has more than {_MOST_RUNS} runs {between}: give a shorter time.")
    if not found:
        ends = "" if latest is None else f", its end date: {latest.isoformat()}"
        raise ToolkitMisuse(
            f"DAG {dag.dag_id!r} has no run {between} (its schedule: {timetable.summary}{ends}): give it a schedule, "
            "or a later until."
        )
    return found


def _end_of(dag: Any) -> datetime | None:
    """Return the moment after which no data interval of a DAG begins, as a scheduler takes it; None: there is none.

    The latest end of all tasks counts, or the end of the DAG where a task has none.
    """
    ends = [task.end_date for task in dag.tasks]
    found: datetime | None = dag.end_date
    if ends and None not in ends:
        found = max([*ends, *([] if found is None else [found])])
    return found
