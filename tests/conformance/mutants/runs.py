"""Faults of whole runs: what is tried again, what is left behind, which version is seen, which DAG waits."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.conformance.adapter import DagPlan, Shape

from .dags import MutantOfDags, without
from .inside import instead_of, part
from .mutant import Mutant, Original


class TriesAgainWhatFailsAgain(MutantOfDags):
    """Leaves it to Airflow how often a task is tried, whatever has failed."""

    kills = "RUN-001"
    needed = "retry_on"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, operator_args="retry_on")


class TakesTheUnknownForLasting(Mutant):
    """Tries again only after the failures of a list."""

    kills = "RUN-002"
    needed = "retry_on"

    def begin(self) -> None:
        instead_of("dbt.failure_kinds", "kind_of_text", self._kind)

    @staticmethod
    def _kind(sound: Original, text: str) -> Any:
        kind = sound(text)
        is_unknown = kind.value == "warehouse" and "connection" not in text
        return type(kind)("sql") if is_unknown else kind


class RecordsOnlyWhatHasRun(Mutant):
    """Joins the results that tasks have left, in which there is nothing of a model whose task did not run."""

    kills = "RUN-003"
    needed = "run_artifacts"

    def begin(self) -> None:
        instead_of("operators.run.run_artifacts", "join_parts", lambda sound, folder, _, warn: sound(folder, {}, warn))


class UnpacksAsFarAsItGoes(Mutant):
    """Unpacks an archive as far as it is there."""

    kills = "RUN-004"
    needed = "remote_projects"

    def begin(self) -> None:
        instead_of("project.remote_project", "_unpack", self._unpack)

    @staticmethod
    def _unpack(sound: Original, content: bytes, folder: Path) -> None:
        with suppress(part("environments.archive").BadArchive):
            sound(content, folder)


class KeepsOneCopy(Mutant):
    """Keeps one copy of a project, and replaces it when there is a newer version."""

    kills = "RUN-005"
    needed = "remote_projects"

    def begin(self) -> None:
        instead_of("project.remote_project", "copy_of", self._copy)

    @staticmethod
    def _copy(sound: Original, address: Any) -> Path:
        version: Path = sound(address)
        copy = version.parents[1] / "newest"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(version, copy)
        return copy


class GivesAssetsTooEarly(MutantOfDags):
    """Gives the asset for which another DAG waits by a task that waits for nothing."""

    kills = "RUN-006"
    needed = "project_dags"

    def make_dags(self, plan: DagPlan) -> list[Any]:
        dags = super().make_dags(plan)
        for dag in dags:
            for task in (each for each in dag.tasks if each.outlets):
                for first in task.upstream_task_ids:
                    dag.get_task(first).downstream_task_ids.discard(task.task_id)
                task.upstream_task_ids.clear()
        return dags


class FindsNoWordsForACircle(MutantOfDags):
    """Says of DAGs that would wait for each other no more than that there is a circle."""

    kills = "RUN-007"
    needed = "project_dags"

    def render(self, plan: DagPlan) -> Shape:
        shape = super().render(plan)
        return shape if shape.exception is None else Shape(exception="ValueError: there is a circle")


class TellsWhoeverIsThere(Mutant):
    """Tells the receiver of all other messages what has failed, whoever its owner is."""

    kills = "RUN-008"
    needed = "notify_owners"

    def begin(self) -> None:
        instead_of("rendering.plan_graph", "_owner_of", lambda *_: "")
