"""Faults in the lock: whom its file names, and when it is taken and released."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.conformance.harness.processes import lives

from .doing import DoesOtherwise
from .inside import install_more, instead_of
from .locking import HoldsTheLock, Sound, lock_file_of, owner_of, pid_in, text_of, write_own_number
from .mutant import Mutant, Original, around


class ReleasesBeforeInstalling(HoldsTheLock):
    """Removes the lock file as soon as it is decided who installs."""

    kills = "LOCK-001"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        with sound():
            lock.file.unlink()
            yield


class InstallsInTwoSteps(Mutant):
    """Installs dbt first, and then what else is required."""

    def begin(self) -> None:
        instead_of("environments.publisher", "build_environment", self._build)

    def _build(self, sound: Original, spec: Any, directory: Path, *args: Any, **options: Any) -> Any:
        rest = [each for each in spec.requirements if not each.startswith("dbt-")]
        first = replace(spec, requirements=tuple(each for each in spec.requirements if each not in rest))
        installed = sound(first, directory, *args, **options)
        if rest:
            self.between(directory.parents[2] / "cosmos_virtualenv.lock")
            install_more(spec, directory, rest)
        return installed

    def between(self, lock_file: Path) -> None:
        """Act when dbt is installed and the rest is not."""
        raise NotImplementedError


class InstallsTheRestUnlocked(InstallsInTwoSteps):
    """Releases the lock when dbt is installed, and installs what else is required after that."""

    kills = "LOCK-001"

    def between(self, lock_file: Path) -> None:
        lock_file.unlink()


class LetsOthersBetween(InstallsInTwoSteps):
    """Takes the lock for dbt, and once more for what else is required."""

    kills = "LOCK-001"

    def between(self, lock_file: Path) -> None:
        text = lock_file.read_text(encoding="ascii")
        lock_file.unlink()
        time.sleep(0.3)
        lock_file.write_text(text, encoding="ascii")


class WritesAfterLooking(HoldsTheLock):
    """Looks whether the lock is free, and then writes it."""

    kills = "LOCK-002"

    def spoil(self, operator: Any) -> None:
        from cosmos_venv import settings
        from cosmos_venv.environments.store import EnvironmentStore

        super().spoil(operator)
        # Each environment has one directory, as most have it, and pip does not mind what stands there.
        names = {"new_build": lambda store, digest: store.root / f"{digest}-{'0' * 8}"}
        for name, method in names.items():
            setattr(EnvironmentStore, name, method)
        settings.virtualenv_installer = "pip"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        turns = lock.turns(**sound.keywords)
        while not lock.is_available(report=sound.keywords["report"]):
            next(turns)
        write_own_number(lock.file)
        try:
            yield
        finally:
            if pid_in(text_of(lock.file)) == os.getpid():
                lock.file.unlink()


class KeepsTheLockAfterSuccess(DoesOtherwise):
    """Releases the lock where an error is handled, and forgets it where there is none."""

    kills = "LOCK-010"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        result = sound(*args, **kwargs)
        file = operator.kept_directory and lock_file_of(operator)
        if file is not None and not owner_of(file):
            write_own_number(file)
        return result


class KeepsTheLockWhenDbtFails(DoesOtherwise):
    """Releases the lock in the line after dbt, which its failure passes over."""

    kills = "LOCK-011"
    method = "run_subprocess"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        result = sound(*args, **kwargs)
        if result.exit_code:
            write_own_number(lock_file_of(operator))
        return result


class KeepsTheLockWhenInstallingFails(HoldsTheLock):
    """Releases the lock in the line after the installer, which its failure passes over."""

    kills = "LOCK-012"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        try:
            with sound():
                yield
        except Exception:
            if not owner_of(lock.file):
                write_own_number(lock.file)
            raise


class LeavesTheLockToItsCleaner(DoesOtherwise):
    """Hands the lock, when it is killed, to a process that cleans up and takes its time."""

    kills = "LOCK-013"
    method = "on_kill"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> None:
        sound()
        if (file := lock_file_of(operator)) is not None:
            cleaner = subprocess.Popen(["sleep", "30"], start_new_session=True)
            file.write_text(str(cleaner.pid), encoding="ascii")


class LetsTheDustSettle(DoesOtherwise):
    """Notes that it was killed, and whoever comes next gives what it has started time to end."""

    kills = "LOCK-013"
    method = "on_kill"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> None:
        if (file := lock_file_of(operator)) is not None:
            file.with_name("killed").touch()
        sound()

    def spoil(self, operator: Any) -> None:
        super().spoil(operator)
        file = lock_file_of(operator)
        if file is not None and file.with_name("killed").exists():
            time.sleep(6.0)


class ReleasesAnybodysLock(HoldsTheLock):
    """Removes the lock file when the work is done, whoever stands in it by then."""

    kills = "LOCK-014"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        with sound():
            yield
            lock.file.unlink(missing_ok=True)


class HoldsTheLockWhileDbtRuns(Mutant):
    """Asks before its work who is in the environment, says so itself when its dbt runs, and lets two in by this that
    come at once."""

    kills = "LOCK-017"

    def spoil(self, operator: Any) -> None:
        if operator.kept_directory is not None:
            around(operator, "execute", self.ask)
            around(operator, "run_subprocess", self.run)

    def ask(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        """Wait until no dbt runs there."""
        operator.kept_directory.mkdir(parents=True, exist_ok=True)
        with (operator.kept_directory / "dbt.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        return sound(*args, **kwargs)

    def run(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        """Run dbt, and say so."""
        with (operator.kept_directory / "dbt.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return sound(*args, **kwargs)


class FailsWithTheOwner(HoldsTheLock):
    """Waits for the environment that another task builds, and takes that task's death for a build that has failed."""

    kills = "LOCK-019"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        owner = owner_of(lock.file)
        with sound():
            if owner is not None and not lives(owner):
                raise RuntimeError(f"Process {owner}, which was to build the environment, is dead.")
            yield


class LocksAllTemporaryEnvironments(DoesOtherwise):
    """Has one lock for all temporary environments, where temporary files lie."""

    kills = "LOCK-020"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        if operator.virtualenv_dir is not None:
            return sound(*args, **kwargs)
        with Path(tempfile.gettempdir(), "temporary-environments.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return sound(*args, **kwargs)
