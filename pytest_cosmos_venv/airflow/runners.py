"""What ``cosmos_run_dag`` and ``cosmos_run_task`` are: they run, and keep each outcome for the report of the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from pytest_cosmos_venv.airflow.outcomes import DagOutcome, TaskOutcome
from pytest_cosmos_venv.airflow.running import run_dag, run_task

_PREPARES = ("pytest_cosmos_venv.airflow.prepared_runs",)


@dataclass(frozen=True)
class RunDag:
    """What ``cosmos_run_dag`` is.

    :param outcomes: where each outcome is added.
    """

    prepares: ClassVar[tuple[str, ...]] = _PREPARES
    outcomes: list[DagOutcome | TaskOutcome]

    def __reduce__(self) -> tuple[object, ...]:
        # To a contender of a race, which hands back what it wants to be known.
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

        :param logical_date: a moment, or a string such as ``2026-01-01``, in UTC unless it says so. Default: now.
        :param run_id: Default: the one that Airflow makes up.
        :param conf: the configuration of the run; ``params`` take their values from it.
        :param raise_on_failure: raise ``AssertionError`` with the table when the run fails.
        """
        outcome = run_dag(dag, logical_date=logical_date, run_id=run_id, conf=conf)
        self.outcomes.append(outcome)
        if raise_on_failure:
            first = next((task.exception for task in outcome.tasks.values() if task.exception), None)
            _raise_unless(outcome, first)
        return outcome


@dataclass(frozen=True)
class RunTask:
    """What ``cosmos_run_task`` is; ``outcomes`` as for ``RunDag``."""

    prepares: ClassVar[tuple[str, ...]] = _PREPARES
    outcomes: list[DagOutcome | TaskOutcome]

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
        """Run the task to its end; parameters as for ``cosmos_run_dag``."""
        outcome = run_task(operator, logical_date=logical_date, run_id=run_id, conf=conf)
        self.outcomes.append(outcome)
        if raise_on_failure:
            _raise_unless(outcome, outcome.exception)
        return outcome


def _raise_unless(outcome: DagOutcome | TaskOutcome, error: BaseException | None) -> None:
    if not outcome.succeeded:
        raise AssertionError(str(outcome)) from error
