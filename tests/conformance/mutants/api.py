"""Faults in classes, parameters, methods and settings."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

from pytest_cosmos_venv.conformance.adapter import DagPlan, Task

from .dags import MutantOfDags, saying, without
from .inside import part
from .mutant import Mutant, OtherClass, around, with_names


class ForgetsAnOperator(Mutant):
    """`dbt clone` came later, and nobody has written the operator."""

    kills = "API-001"

    def operators(self) -> ModuleType:
        names = {name: value for name, value in vars(super().operators()).items() if "Clone" not in name}
        return cast("ModuleType", SimpleNamespace(**names))


class DefaultsToTheWorkersPackages(OtherClass):
    """Sees the worker's packages unless told otherwise: it made a first version work."""

    kills = "API-002"

    def names(self, sound: Any) -> dict[str, Any]:
        def __init__(  # noqa: N807 - it is one
            self: Any,
            py_requirements: list[str] | None = None,
            pip_install_options: list[str] | None = None,
            py_system_site_packages: bool = True,
            virtualenv_dir: object = None,
            is_virtualenv_dir_temporary: bool = False,
            **kwargs: Any,
        ) -> None: ...

        return {"__init__": __init__}


class TakesTextAlone(Mutant):
    """Joins the directory with other texts, which a path cannot be."""

    kills = "API-002"

    def change(self, task: Task) -> Task:
        if isinstance(task.arguments.get("virtualenv_dir"), Path):
            raise TypeError("can only concatenate str (not PosixPath) to str")
        return task


class RendersTheDirectoryAlone(OtherClass):
    """Takes the flag for a plain bool, which no template can be."""

    kills = "API-003"

    def names(self, sound: Any) -> dict[str, Any]:
        return {"template_fields": tuple(each for each in sound.template_fields if "temporary" not in each)}


class ObeysTheInvocationMode(Mutant):
    """Takes DBT_RUNNER at its word, and runs the worker's dbt."""

    kills = "API-004"

    def make_task(self, task: Task, **arguments: Any) -> Any:
        operator = super().make_task(task, **arguments)
        operator.invocation_mode = task.arguments.get("invocation_mode", operator.invocation_mode)
        return operator


class PassesOverTheInvocationMode(MutantOfDags):
    """Looks at ExecutionConfig.invocation_mode in local mode alone, where it makes a difference."""

    kills = "API-005"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, execution="invocation_mode")


class LocksNothing(Mutant):
    """Finds that what needs no lock is not locked."""

    kills = "API-006"

    def spoil(self, operator: Any) -> None:
        around(operator, "_is_lock_available", lambda *_: True)


class ReadsOperatorArgumentsAlone(MutantOfDags):
    """Knows the directory of `operator_args`, and not that of ExecutionConfig, which came later."""

    kills = "API-007"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, execution="virtualenv_dir")


class MakesItsDirectoryAtOnce(Mutant):
    """Makes `virtualenv_dir` when it is constructed, so that the first task need not."""

    kills = "API-008"

    def change(self, task: Task) -> Task:
        if "virtualenv_dir" in task.arguments:
            Path(task.arguments["virtualenv_dir"]).mkdir(parents=True, exist_ok=True)
        return task


class AsksItsInstallerOnce(Mutant):
    """Asks the installer for its version when the first operator is made, and remembers it: once cannot cost much."""

    kills = "API-008"

    def change(self, task: Task) -> Task:
        version_of_the_installer()
        return task


@cache
def version_of_the_installer() -> str:
    return subprocess.run(["pip", "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout


class NamesAParameterOtherwise(OtherClass):
    """Calls the command of run_subprocess `cmd`, as run_command does."""

    kills = "API-009"

    def names(self, sound: Any) -> dict[str, Any]:
        def run_subprocess(self: Any, cmd: Sequence[str] = (), env: Any = None, cwd: str = "", **kwargs: Any) -> Any:
            return sound.run_subprocess(self, kwargs.pop("command", cmd), env, cwd, **kwargs)

        return {run_subprocess.__name__: run_subprocess}


class ReadsTheSettingAsText(Mutant):
    """Takes the setting out of Airflow's configuration as it is written there."""

    kills = "API-010"

    def settings(self) -> ModuleType:
        sound = super().settings()
        return with_names(sound, virtualenv_max_retries_lock=str(sound.virtualenv_max_retries_lock))


class ReturnsTheLastLine(OtherClass):
    """Logs what dbt says, and returns the last line of it: nobody was to read the rest again."""

    kills = "API-011"
    of_class = "DbtRunVirtualenvOperator"

    def names(self, sound: Any) -> dict[str, Any]:
        def run_command(self: Any, *given: Any, **named: Any) -> Any:
            result = sound.run_command(self, *given, **named)
            return result._replace(full_output=[result.output])

        return {"run_command": run_command}


class KeepsAMappingToItsModule(Mutant):
    """Got a module for each warehouse, and nobody thought of the names that examples import from the package."""

    kills = "API-014"

    def begin(self) -> None:
        package = part("profiles")
        sound = package.__getattr__

        def lookup(name: str) -> Any:
            if name == "PostgresUserPasswordProfileMapping":
                raise AttributeError(name)
            return sound(name)

        vars(package).pop("PostgresUserPasswordProfileMapping", None)
        package.__getattr__ = lookup


class TakesAFolderAsTextAlone(MutantOfDags):
    """Joins the folder of the project with other texts, which a path cannot be."""

    kills = "API-015"

    def replan(self, plan: DagPlan) -> DagPlan:
        if isinstance(plan.project.get("dbt_project_path"), Path):
            raise TypeError("can only concatenate str (not PosixPath) to str")
        return plan


class ForgetsTheFormerNameOfASchedule(MutantOfDags):
    """Drops arguments of a DAG that this Airflow does not have, and says nothing."""

    kills = "API-016"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, dag="schedule_interval")


class CleansWhateverItHas(OtherClass):
    """Deletes the directory when it is told to clean, and leaves the question to whoever tells it."""

    kills = "API-018"
    of_class = "DbtRunVirtualenvOperator"

    def names(self, sound: Any) -> dict[str, Any]:
        def clean_dir_if_temporary(self: Any) -> None:
            if self.virtualenv_dir is not None:
                shutil.rmtree(self.virtualenv_dir, ignore_errors=True)

        return {"clean_dir_if_temporary": clean_dir_if_temporary}


class LooksBesideItself(MutantOfDags):
    """Takes a relative path for one below Airflow's own folder, where most keep their projects."""

    kills = "API-017"

    def replan(self, plan: DagPlan) -> DagPlan:
        home = os.environ.get("AIRFLOW_HOME", "/")
        return saying(plan, project={"dbt_project_path": str(Path(home, plan.project["dbt_project_path"]))})


class KnowsDagParametersByName(MutantOfDags):
    """Hands on the parameters of a DAG that it knows by name: `default_args` is not among them."""

    kills = "API-012"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, dag="default_args")


class TakesTextForTrue(OtherClass):
    """Takes what a template renders to for a bool: "False" is a text, and not empty."""

    kills = "API-013"
    of_class = "DbtRunVirtualenvOperator"

    def names(self, sound: Any) -> dict[str, Any]:
        def execute(self: Any, context: Any, **kwargs: Any) -> Any:
            self.is_virtualenv_dir_temporary = bool(self.is_virtualenv_dir_temporary)
            return sound.execute(self, context, **kwargs)

        return {"execute": execute}
