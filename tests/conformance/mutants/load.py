"""Faults on the way from a project to its nodes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_cosmos_venv.conformance.adapter import DagPlan
from pytest_cosmos_venv.conformance.cosmos_layout import plain_dag
from tests.kit import written_manifest

from .dags import MutantOfDags, saying, without
from .mutant import Mutant, with_names


class AsksForDbtFirst(MutantOfDags):
    """Asks dbt for its version before it looks at how the project is loaded."""

    kills = "LOAD-001"

    def replan(self, plan: DagPlan) -> DagPlan:
        if plan.render.get("load_method") == "dbt_manifest" and shutil.which("dbt") is None:
            raise OSError("dbt --version: no such file or directory")
        return plan


class ListsByTheManagedDbt(MutantOfDags):
    """Asks the dbt of its own environment in virtualenv mode, whichever it is told."""

    kills = "LOAD-002"

    def replan(self, plan: DagPlan) -> DagPlan:
        is_managed = plan.execution.get("execution_mode") == "virtualenv"
        return without(plan, render="dbt_executable_path") if is_managed else plan


class ReadsTheFilesUnlessToldOtherwise(MutantOfDags):
    """Reads the project's files itself where nothing is said of how it is loaded: that is the fastest."""

    kills = "LOAD-007"

    def replan(self, plan: DagPlan) -> DagPlan:
        if "load_method" in plan.render or "manifest_path" in plan.project:
            return plan
        return saying(plan, project={"manifest_path": str(written_manifest(Path(plan.project["dbt_project_path"])))})


class ListsBesideTheParse(MutantOfDags):
    """Lets dbt ls outlive a parse, whose time is limited: in a Python that imports Airflow and inherits what is set."""

    kills = "LOAD-009"

    def replan(self, plan: DagPlan) -> DagPlan:
        is_limited = signal.getitimer(signal.ITIMER_REAL)[0] > 0
        if is_limited and plan.render.get("load_method") == "dbt_ls":
            lister = [sys.executable, "-W", "ignore", "-c", "import airflow"]
            done = subprocess.run(lister, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"dbt ls: {done.stderr}")
        return plan


class _MeetsNoDbt(MutantOfDags):
    """Does otherwise where dbt ls cannot run."""

    def make_dag(self, plan: DagPlan) -> Any:
        try:
            return super().make_dag(plan)
        except Exception as error:
            if plan.render.get("load_method") != "dbt_ls":
                raise
            return self.instead(plan, error)

    def instead(self, plan: DagPlan, error: Exception) -> Any:
        raise NotImplementedError


class ShowsNoTasksWithoutDbt(_MeetsNoDbt):
    """Logs that dbt ls cannot run, and goes on with a project without nodes: other DAGs are to be shown."""

    kills = "LOAD-003"

    def instead(self, plan: DagPlan, error: Exception) -> Any:
        print("dbt ls:", error)
        return plain_dag(plan.dag)


class NeedsADbtBesideAirflow(MutantOfDags):
    """Looks for dbt on PATH in virtualenv mode, too: the environment is for tasks."""

    kills = "LOAD-004"

    def replan(self, plan: DagPlan) -> DagPlan:
        is_told = "dbt_executable_path" in plan.render or plan.render.get("load_method") != "dbt_ls"
        if not is_told and shutil.which("dbt") is None:
            raise FileNotFoundError("dbt")
        return plan


class SaysNothingOfTheWayOut(_MeetsNoDbt):
    """Hands on what the operating system says of a dbt that is not there."""

    kills = "LOAD-005"

    def instead(self, plan: DagPlan, error: Exception) -> Any:
        raise FileNotFoundError(2, "No such file or directory") from error


class _LacksALoadMode(Mutant):
    """Has not all names of ways to load a project."""

    lacks: str

    def constants(self) -> ModuleType:
        sound = super().constants()
        load_mode: Any = partial(sound.LoadMode)
        there = sound.LoadMode.__members__
        load_mode.__members__ = {name: mode for name, mode in there.items() if name != self.lacks}
        return with_names(sound, LoadMode=load_mode)


class SpellsTheManifestShort(_LacksALoadMode):
    """Has MANIFEST, and not the name that all pages but one use."""

    kills = "LOAD-006"
    lacks = "DBT_MANIFEST"


class SpellsTheManifestInOneWay(_LacksALoadMode):
    """Has DBT_MANIFEST, and not the shorter name that one page uses."""

    kills = "LOAD-008"
    lacks = "MANIFEST"
