"""Faults in what dbt finds around it: profile, variables, parse file, standard input."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from typing import Any

from pytest_cosmos_venv.conformance.adapter import DagPlan, Outcome, Task

from .dags import MutantOfDags, saying
from .mutant import Mutant, with_names


class TakesTheUsualPort(Mutant):
    """Writes the port that Postgres has by default, whichever the connection says."""

    kills = "CMD-012"

    def profile(self, arguments: Mapping[str, Any]) -> Any:
        if "profile_mapping" not in arguments:
            return super().profile(arguments)
        name, given = arguments["profile_mapping"]
        own = {**given, "profile_args": {**given["profile_args"], "port": 5432}}
        return super().profile({**arguments, "profile_mapping": (name, own)})


class ParsesWholeInDags(MutantOfDags):
    """Lets each task of a DAG parse the whole project, for fear that two of them write one parse file."""

    kills = "CMD-013"

    def replan(self, plan: DagPlan) -> DagPlan:
        is_managed = plan.execution.get("execution_mode") == "virtualenv"
        return saying(plan, project={"partial_parse": False}) if is_managed else plan


class ParsesWholeOutsideOfDags(Mutant):
    """Has a place for parse files for each DAG, and so none for an operator without one."""

    kills = "CMD-021"

    def change(self, task: Task) -> Task:
        return task.with_arguments(partial_parse=False)


class ParsesPartiallyAlways(Mutant):
    """Knows no reason to turn partial parsing off."""

    kills = "CMD-019"

    def change(self, task: Task) -> Task:
        return task.with_arguments(partial_parse=True)


class QuotesForAShell(Mutant):
    """Quotes the values of variables for a shell, which does not come."""

    kills = "CMD-016"

    def change(self, task: Task) -> Task:
        env = task.arguments.get("env") or {}
        return task.with_arguments(env={name: shlex.quote(value) for name, value in env.items()})


class HandsOnTextAlone(Mutant):
    """Takes all variables of a project for texts, as those of the environment are."""

    kills = "CMD-025"

    def change(self, task: Task) -> Task:
        given = task.arguments.get("vars") or {}
        return task.with_arguments(vars={name: str(value) for name, value in given.items()}) if given else task


class SharesItsStandardInput(Mutant):
    """Starts dbt with the standard input that the task itself has."""

    kills = "CMD-020"

    def perform(self, task: Task) -> Outcome:
        from cosmos_venv.processes import guarded_process

        vars(guarded_process)["subprocess"] = with_names(subprocess, DEVNULL=None)
        return super().perform(task)

    def spoil(self, operator: Any) -> None:
        operator.warm_dbt = "off"  # what is forked warm has its server's
