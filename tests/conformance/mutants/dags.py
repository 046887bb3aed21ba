"""Mutants whose fault lies in how DAGs are built: they change the plan, or the DAG that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_cosmos_venv.conformance.adapter import DagPlan

from .mutant import Mutant


class MutantOfDags(Mutant):
    """Its fault lies in one of these two."""

    needed = "dags"

    def make_dag(self, plan: DagPlan) -> Any:
        dag = super().make_dag(self.replan(plan))
        self.rewire(dag, plan)
        return dag

    def replan(self, plan: DagPlan) -> DagPlan:
        """Return the plan that it takes the DAG file for."""
        return plan

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        """Change the tasks when they are there."""


def saying(plan: DagPlan, **parts: Mapping[str, Any]) -> DagPlan:
    """The plan with other arguments of its configurations beside those that it has."""
    changed: dict[str, Any] = {name: {**getattr(plan, name), **part} for name, part in parts.items()}
    return replace(plan, **changed)


def without(plan: DagPlan, **parts: str) -> DagPlan:
    """The plan without one argument of each of these configurations."""
    changed: dict[str, Any] = {part: _all_but(getattr(plan, part), name) for part, name in parts.items()}
    return replace(plan, **changed)


def _all_but(arguments: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in arguments.items() if each != name}


def tasks_of(dag: Any, operator: str) -> list[Any]:
    """Its tasks with this word in the name of the operator's class."""
    return [task for task in dag.tasks if operator in type(task).__name__]


def part(first: Any, then: Any) -> None:
    """Let one task no longer wait for the other."""
    first.downstream_task_ids.discard(then.task_id)
    then.upstream_task_ids.discard(first.task_id)
