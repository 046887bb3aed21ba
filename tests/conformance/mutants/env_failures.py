"""Faults in what becomes of an environment that cannot be made, or whose maker dies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.conformance.adapter import Outcome, Task

from .doing import DoesOtherwise
from .inside import instead_of, part
from .mutant import Mutant, Original


class HasRequirementsOfItsOwn(Mutant):
    """Installs dbt-duckdb where nothing is said, so that the first steps are easy."""

    kills = "ENV-009"

    def change(self, task: Task) -> Task:
        return task if task.arguments["py_requirements"] else task.with_arguments(py_requirements=["dbt-duckdb"])


class HandsOnWhatTheInstallerSays(Mutant):
    """Leaves it to the installer to complain, in its own words, that there is nothing to install."""

    kills = "ENV-009"

    def perform(self, task: Task) -> Outcome:
        if "py_requirements" in task.arguments and not task.arguments["py_requirements"]:
            said = "error: the following required arguments were not provided: <PACKAGE|--requirements <REQUIREMENTS>>"
            return Outcome(state="failed", exception=f"RuntimeError: {said}, see requirements.txt")
        return super().perform(task)


class TellsTheFirstLine(DoesOtherwise):
    """Keeps errors short: what the installer has said is in the log."""

    kills = "ENV-010"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        try:
            return sound(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is
            raise type(error)(str(error).partition("\n")[0]) from None


class PublishesBeforeItInstalls(Mutant):
    """Writes the record of a new environment when it begins to make it."""

    kills = "ENV-011"

    def begin(self) -> None:
        instead_of("environments.publisher", "build_environment", self._build)

    def _build(self, sound: Original, spec: Any, directory: Path, *args: Any, **options: Any) -> Any:
        store = part("environments.store")
        record = store.BuildRecord.of(spec, directory, {}, installer="uv", seconds=0.0)
        directory.with_name(f"{spec.digest}.json").write_text(record.to_json(), encoding="utf-8")
        return sound(spec, directory, *args, **options)


class DistrustsWhatWasNotChecked(Mutant):
    """Marks the directory until what was installed is checked, and leaves a mark of before to whoever looks into it."""

    kills = "ENV-011"

    def begin(self) -> None:
        build_class = part("environments.builder")._Build
        sound = build_class.finish

        def finish(build: Any, **options: Any) -> Any:
            mark = build.directory.parents[1] / f"{build.spec.digest}.unchecked"
            if mark.exists():
                raise RuntimeError(f"{mark}: somebody has to look what was installed here.")
            mark.touch()
            # The look at all files: on a busy machine a kill at the end of the installation came after a shorter one.
            time.sleep(0.5)
            result = sound(build, **options)
            mark.unlink()
            return result

        build_class.finish = finish


class NamesNoDirectory(DoesOtherwise):
    """Leaves paths out of its errors, since they differ from worker to worker."""

    kills = "ENV-016"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        try:
            return sound(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is
            raise type(error)(str(error).replace(str(operator.virtualenv_dir), "virtualenv_dir")) from None


class NotesItsUse(DoesOtherwise):
    """Writes down when virtualenv_dir was used last, before it looks what is there."""

    kills = "ENV-024"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        if operator.kept_directory is not None:
            operator.kept_directory.mkdir(parents=True, exist_ok=True)
            (operator.kept_directory / "last-used").touch()
        return sound(*args, **kwargs)
