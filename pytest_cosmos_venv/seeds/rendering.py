"""What became of the seeds in a DAG that was built? Seen from the DAG alone, whoever built it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.places import Place, find_place
from pytest_cosmos_venv.seeds.story import Story

Form = Literal["task", "empty", "absent"]

# ``piers_seed``, ``piers.seed`` beside its test, and ``piers_seed_build``.
_TASK_ID = r"(?:.*\.)?{seed}[._]seed(?:_build)?"


@dataclass(frozen=True, kw_only=True)
class SeedRendering:
    """One DAG, built and not run.

    :param dag: Airflow's own.
    :param places: those that are in it.
    :param seeds: of the project.
    """

    dag: Any
    places: Sequence[Place]
    seeds: Sequence[str]
    _story: Story

    @property
    def edges(self) -> frozenset[tuple[str, str]]:
        """Every pair of a task and one that comes right after it."""
        return frozenset((task.task_id, after) for task in self.dag.tasks for after in task.downstream_task_ids)

    def task(self, seed: str | None = None, *, place: str | None = None) -> Any:
        """The task of a seed, None where there is none. Without arguments: the first seed, in the first place."""
        name = seed if seed is not None else self.seeds[0]
        if name not in self.seeds:
            raise ToolkitMisuse(f"seed={name!r}: the project has {', '.join(self.seeds)}.")
        return seed_task(self.dag, find_place(self.places, place), name)

    def form(self, seed: str | None = None, *, place: str | None = None) -> Form:
        """``task``; ``empty`` for an EmptyOperator; ``absent``. Arguments as for ``task``."""
        task = self.task(seed, place=place)
        return "absent" if task is None else "empty" if is_empty(task) else "task"

    def must(self, form: Form, *, seed: str | None = None, place: str | None = None) -> SeedRendering:
        """Fail with the whole story unless the seed is rendered so; returns this rendering."""
        __tracebackhide__ = True
        if self.form(seed, place=place) != form:
            seen = {task.task_id: type(task).__name__ for task in self.dag.tasks}
            self._story.fail(
                f"{seed or self.seeds[0]} is rendered as: {form}", f"{self.form(seed, place=place)}, in {seen}"
            )
        return self


def seed_task(dag: Any, place: Place, seed: str) -> Any:
    """The task of this seed in this place, None where there is none."""
    pattern = re.compile(re.escape(place.prefix) + _TASK_ID.format(seed=re.escape(seed)))
    found = [task for task in dag.tasks if pattern.fullmatch(task.task_id)]
    # A group within this one may be a place of its own.
    return min(found, key=lambda task: len(task.task_id), default=None)


def is_empty(task: Any) -> bool:
    """Whether it is an EmptyOperator, which has another home in each Airflow."""
    return any(each.__name__ == "EmptyOperator" for each in type(task).__mro__)
