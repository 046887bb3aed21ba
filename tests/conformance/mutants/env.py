"""Faults in where an environment is made, how long it stays, and who may change it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.conformance.adapter import Task

from .doing import DoesOtherwise
from .inside import instead_of
from .mutant import Mutant, Original, around


class NamesItByItsPurpose(Mutant):
    """Calls its temporary directories dbt-venv."""

    kills = "ENV-029"

    def begin(self) -> None:
        instead_of("environments.builder", "scratch_folder", lambda sound, prefix="dbt-venv": sound(prefix))


class KeepsWhatHasSucceeded(Mutant):
    """Leaves the environment of a dbt that has succeeded, for the next task, which does not look for it."""

    kills = "ENV-001"

    def begin(self) -> None:
        instead_of("processes.scratch", "remove", lambda sound, folder: sound(folder) if sys.exc_info()[0] else None)


class KeepsWhatHasFailed(Mutant):
    """Leaves the environment of a dbt that has failed, for whoever wants to look into it."""

    kills = "ENV-002"

    def begin(self) -> None:
        instead_of("processes.scratch", "remove", lambda sound, folder: None if self._has_failed() else sound(folder))

    def _has_failed(self) -> bool:
        error = sys.exc_info()[0]
        return error is not None and "Kill" not in error.__name__


class EndsInAHurry(DoesOtherwise):
    """Takes no time for cleaning up when it is told to end."""

    kills = "ENV-003"
    method = "on_kill"
    _is_told = False

    def begin(self) -> None:
        instead_of("processes.scratch", "remove", lambda sound, folder: None if self._is_told else sound(folder))

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        self._is_told = True
        return sound(*args, **kwargs)


class MakesOneForEachTask(Mutant):
    """Makes an environment for each task in virtualenv_dir, so that none comes in another's way."""

    kills = "ENV-004"

    def change(self, task: Task) -> Task:
        folder = task.arguments.get("virtualenv_dir")
        return task if folder is None else task.with_arguments(virtualenv_dir=f"{folder}/{uuid.uuid4().hex}")


class LeavesNoCommands(Mutant):
    """Keeps an environment where tasks find it, and nobody else."""

    kills = "ENV-030"

    def begin(self) -> None:
        instead_of("environments.publisher", "link_dbt", lambda *_: None)


class PreparesTheDirectoryAllTheSame(DoesOtherwise):
    """Runs dbt from a temporary environment, when it has made one where virtualenv_dir is named."""

    kills = "ENV-007"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        place = operator.virtualenv_dir and Path(operator.virtualenv_dir)
        if place and operator.is_virtualenv_dir_temporary and not place.exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        return sound(*args, **kwargs)


class DeletesWhatItWasGiven(DoesOtherwise):
    """Deletes virtualenv_dir when it is told to end, whoever has made it."""

    kills = "ENV-008"
    method = "on_kill"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        if operator.is_virtualenv_dir_temporary:
            shutil.rmtree(operator.virtualenv_dir, ignore_errors=True)
        return sound(*args, **kwargs)


class DeletesWhatItWasToUse(Mutant):
    """Deletes virtualenv_dir when it is told to end and knows of no environment that it has made, to be on the safe
    side."""

    kills = "ENV-026"

    def spoil(self, operator: Any) -> None:
        around(operator, "execute", self.begin_work)
        around(operator, "on_kill", self.end_work)

    def begin_work(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        """Know of one from now on."""
        operator.has_begun = True
        return sound(*args, **kwargs)

    def end_work(self, operator: Any, sound: Original) -> Any:
        """Be on the safe side."""
        if operator.is_virtualenv_dir_temporary and not getattr(operator, "has_begun", False):
            shutil.rmtree(operator.virtualenv_dir, ignore_errors=True)
        return sound()


class RewritesAllThatItFinds(DoesOtherwise):
    """Brings pyvenv.cfg up to date in each environment of the directory."""

    kills = "ENV-014"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        for file in operator.kept_directory.rglob("pyvenv.cfg") if operator.kept_directory else ():
            with suppress(OSError):
                file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        return sound(*args, **kwargs)


class RunsOnce(DoesOtherwise):
    """Takes an operator that was executed for one that has done its work."""

    kills = "ENV-017"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        if vars(operator).setdefault("is_done", False):
            return None
        operator.is_done = True
        return sound(*args, **kwargs)


class LeavesAnEmptyDirectory(DoesOtherwise):
    """Makes virtualenv_dir, and then finds that it is not needed."""

    kills = "ENV-020"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        if operator.virtualenv_dir is not None and operator.is_virtualenv_dir_temporary:
            Path(operator.virtualenv_dir).mkdir(parents=True, exist_ok=True)
        return sound(*args, **kwargs)


class UsesWhatIsThere(Mutant):
    """Finds an environment in a directory that is said to be temporary, and saves itself the installation."""

    kills = "ENV-022"

    def spoil(self, operator: Any) -> None:
        if operator.virtualenv_dir is not None and list(Path(operator.virtualenv_dir).rglob("pyvenv.cfg")):
            operator.is_virtualenv_dir_temporary = False
