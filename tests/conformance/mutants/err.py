"""Faults in what is said of bad input."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from pytest_cosmos_venv.conformance.adapter import DagPlan, Task, TaskOfDag
from pytest_cosmos_venv.conformance.cosmos_layout import plain_dag

from .dags import MutantOfDags
from .mutant import Mutant

DBT_S_OWN = "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}\n"


class MakesTheProjectsFolder(MutantOfDags):
    """Makes each folder that it is told of, the project's too, so that later steps need not ask."""

    kills = "ERR-001"

    def replan(self, plan: DagPlan) -> DagPlan:
        if project := plan.project.get("dbt_project_path"):
            Path(project).mkdir(parents=True, exist_ok=True)
        return plan


def manifest_of(plan: DagPlan) -> str:
    """The text of the plan's manifest; that of a sound one where it names none."""
    named = plan.project.get("manifest_path")
    return Path(named).read_text(encoding="utf-8") if named else '{"nodes": {}}'


class TakesAnyTextForAManifest(MutantOfDags):
    """Begins to read at the first brace, and where there is none finds no nodes."""

    kills = "ERR-002"

    def make_dag(self, plan: DagPlan) -> Any:
        return super().make_dag(plan) if "{" in manifest_of(plan) else plain_dag(plan.dag)


class HandsOnWhatTheParserSays(MutantOfDags):
    """Lets the JSON parser's own error through, which knows line and column and no file."""

    kills = "ERR-003"

    def replan(self, plan: DagPlan) -> DagPlan:
        text = manifest_of(plan)
        if text.startswith("{"):
            json.loads(text)
        return plan


class FindsNoNodesAndGoesOn(MutantOfDags):
    """Asks the manifest for its nodes, or else for none."""

    kills = "ERR-004"

    def make_dag(self, plan: DagPlan) -> Any:
        is_empty = manifest_of(plan).startswith("{") and '"nodes":' not in manifest_of(plan)
        return plain_dag(plan.dag) if is_empty else super().make_dag(plan)


class WritesNoProfileWithoutConnection(Mutant):
    """Leaves the profile to dbt where there is no connection to make it of."""

    kills = "ERR-005"

    def profile(self, arguments: Any) -> Any:
        given = dict(arguments)
        if "profile_mapping" in given:
            del given["profile_mapping"]
            file = Path(tempfile.mkdtemp()) / "profiles.yml"
            file.write_text(DBT_S_OWN, encoding="utf-8")
            given["profiles_yml_filepath"] = str(file)
        return super().profile(given)


class PassesOverABadRequirement(Mutant):
    """Installs the requirements that it can read."""

    kills = "ERR-006"

    def change(self, task: Task) -> Task:
        return task.with_arguments(py_requirements=[each for each in task.arguments["py_requirements"] if _reads(each)])


def _reads(requirement: str) -> bool:
    try:
        Requirement(requirement)
    except InvalidRequirement:
        return False
    return True


class MakesWayForItsDirectory(Mutant):
    """Deletes what stands where its directory is to be."""

    kills = "ERR-007"

    def change(self, task: Task) -> Task:
        place = task.arguments.get("virtualenv_dir")
        if place is not None and Path(place).is_file():
            Path(place).unlink()
        return task


class RefusesAnOldManifestInOneWord(MutantOfDags):
    """Says of a manifest of an old schema that it is not supported, and neither which schema nor which are."""

    kills = "ERR-008"

    def replan(self, plan: DagPlan) -> DagPlan:
        if "/manifest/v8.json" in manifest_of(plan):
            raise ValueError(f"{plan.project['manifest_path']}: unsupported.")
        return plan


class AsksWhatIsNotThere(Mutant):
    """Asks the profile for its target when it is made, also where there is none."""

    kills = "ERR-009"

    def make_task(self, task: Task, **arguments: Any) -> Any:
        if not task.profile and not isinstance(task, TaskOfDag):
            raise AttributeError("'NoneType' object has no attribute 'target_name'")
        return super().make_task(task, **arguments)


class AsksTheProjectForItsName(MutantOfDags):
    """Names a group after its project, also where there is none."""

    kills = "ERR-010"

    def replan(self, plan: DagPlan) -> DagPlan:
        if not plan.project:
            raise AttributeError("'NoneType' object has no attribute 'project_name'")
        return plan
