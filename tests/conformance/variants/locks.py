"""Variants of the lock: who holds it for how long, and what is said of it."""

from __future__ import annotations

import fcntl
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..mutants.inside import install_more, instead_of
from ..mutants.locking import write_own_number
from ..mutants.mutant import Original, around
from .variant import Variant


class WaitsWithoutAWord(Variant):
    """Has the directory for itself as long as its dbt runs, by a lock of the kernel, and waits for it in silence."""

    keeps = ("ENV-014", "LOCK-003")

    def spoil(self, operator: Any) -> None:
        if operator.virtualenv_dir is not None:
            around(operator, "execute", self.alone)

    def alone(self, operator: Any, sound: Original, *given: Any, **named: Any) -> Any:
        """Do the work while nobody else is in the directory."""
        directory = Path(operator.virtualenv_dir)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "silent.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return sound(*given, **named)


class LocksItsOwnTemporaryDirectory(Variant):
    """Has its temporary environment in a directory of its own, with a lock file in it: nobody else comes there."""

    keeps = ("LOCK-020", "ENV-001")

    def spoil(self, operator: Any) -> None:
        if operator.virtualenv_dir is None:
            around(operator, "execute", in_a_locked_directory)


def in_a_locked_directory(_: Any, sound: Original, *given: Any, **named: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="cosmos-venv") as folder:
        write_own_number(Path(folder, "cosmos_virtualenv.lock"))
        tempfile.tempdir = folder  # of this process, which ends with its task
        try:
            return sound(*given, **named)
        finally:
            tempfile.tempdir = None


class InstallsDbtLast(Variant):
    """Installs what is required beside dbt first, and then dbt, under one lock."""

    keeps = ("LOCK-001",)

    def begin(self) -> None:
        instead_of("environments.publisher", "build_environment", dbt_last)


def dbt_last(sound: Original, spec: Any, directory: Path, *given: Any, **options: Any) -> Any:
    dbt = [each for each in spec.requirements if each.startswith("dbt-")]
    rest = replace(spec, requirements=tuple(each for each in spec.requirements if each not in dbt))
    installed = sound(rest, directory, *given, **options)
    install_more(spec, directory, dbt)
    return installed
