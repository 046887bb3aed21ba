"""Faults in what is in an environment: requirements, options, and nothing of the worker's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_cosmos_venv.conformance.adapter import Outcome, Task

from .doing import DoesOtherwise
from .inside import instead_of, part
from .mutant import Mutant, Original


def names_of(requirements: list[str]) -> list[str]:
    """Return the names as Python compares them, in order."""
    return sorted(canonicalize_name(Requirement(text).name) for text in requirements)


class HidesTheWorkersPackages(Mutant):
    """Never shows the worker's packages: that was safer."""

    kills = "ENV-005"

    def spoil(self, operator: Any) -> None:
        operator.py_system_site_packages = False


class DropsAnOption(Mutant):
    """Hands on the options that it knows, and --no-deps is none of them."""

    kills = "ENV-006"

    def spoil(self, operator: Any) -> None:
        operator.pip_install_options = [each for each in operator.pip_install_options if each != "--no-deps"]


class AsksTheIndexAllTheSame(Mutant):
    """Keeps --no-index from its installer, which then finds what a folder lacks."""

    kills = "ENV-006"

    def spoil(self, operator: Any) -> None:
        operator.pip_install_options = [each for each in operator.pip_install_options if each != "--no-index"]


class RemembersRequirements(Mutant):
    """Lets what was installed in a kept directory have a say in what is installed next."""

    def change(self, task: Task) -> Task:
        folder = task.arguments.get("virtualenv_dir")
        if folder is None or task.arguments.get("is_virtualenv_dir_temporary"):
            return task
        file = Path(f"{folder}.requirements")
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        wanted = self.choose(known, list(task.arguments["py_requirements"]))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wanted), encoding="utf-8")
        return task.with_arguments(py_requirements=wanted)

    def choose(self, known: list[str], wanted: list[str]) -> list[str]:
        """Return what is to be in the environment.

        :param known: what was to be in it before.
        """
        raise NotImplementedError


class LooksAtNamesAlone(RemembersRequirements):
    """Installs nothing where all that is required is there, in whatever version."""

    kills = "ENV-012"

    def choose(self, known: list[str], wanted: list[str]) -> list[str]:
        return known if names_of(known) == names_of(wanted) else wanted


class OnlyAdds(RemembersRequirements):
    """Installs into the environment that is there, from which nothing is ever taken away."""

    kills = "ENV-023"

    def choose(self, known: list[str], wanted: list[str]) -> list[str]:
        return [*wanted, *(text for text in known if not set(names_of([text])) & set(names_of(wanted)))]


class KeepsOneSet(DoesOtherwise):
    """Forgets the other environments of the directory when a task has found its own."""

    kills = "ENV-013"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        result = sound(*args, **kwargs)
        if operator.kept_directory is not None:
            own = part("managed.resolve").VirtualenvArguments.of(vars(operator)).spec().digest
            for record in operator.kept_directory.glob("envs-*/*.json"):
                if record.stem != own:
                    record.unlink()
        return result


class AsksTheInstaller(DoesOtherwise):
    """Asks uv after each task whether it is the newest."""

    kills = "ENV-015"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        result = sound(*args, **kwargs)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "--version"], check=False, capture_output=True)
        return result


class ComparesTexts(Mutant):
    """Takes requirements for the same when they stand there in the same words."""

    kills = "ENV-018"

    def begin(self) -> None:
        instead_of("environments.spec", "EnvironmentSpec", self._spec)

    def _spec(self, sound: Any, **given: Any) -> Any:
        spec = sound(**given)
        vars(spec)["digest"] = hashlib.sha256(f"{spec.digest} {spec.requirements}".encode()).hexdigest()
        return spec


class RunsWhatRunsAlready(Mutant):
    """Takes the requirements of a task of the same project that runs just now."""

    kills = "ENV-019"

    def perform(self, task: Task) -> Outcome:
        if not {"project_dir", "py_requirements"} <= set(task.arguments):
            return super().perform(task)
        shared = Path(task.arguments["project_dir"]).with_name("requirements.json")
        own = shared.with_name(f"{os.getpid()}.json")
        own.write_text(json.dumps(task.arguments["py_requirements"]), encoding="utf-8")
        try:
            os.link(own, shared)
        except FileExistsError:
            wanted = json.loads(shared.read_text(encoding="utf-8"))
            return super().perform(task.with_arguments(py_requirements=wanted))
        try:
            return super().perform(task)
        finally:
            shared.unlink()


class HandsOnTheWorkersPython(Mutant):
    """Gives dbt all variables of the worker."""

    kills = "ENV-021"

    def begin(self) -> None:
        instead_of("managed.resolve", "without_worker_python", lambda _, env: dict(env))


class ObeysTheWorkersPip(Mutant):
    """Installs where PIP_TARGET says."""

    kills = "ENV-025"

    def spoil(self, operator: Any) -> None:
        if target := os.environ.get("PIP_TARGET"):
            operator.pip_install_options = [*operator.pip_install_options, "--target", target]
