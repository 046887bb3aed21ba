"""Faults in the lock: who is waited for, how long, and who is passed over."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from pytest_cosmos_venv.conformance.harness.processes import lives

from .locking import HoldsTheLock, LooksFirst, Sound, WaitsFor, began_after, owner_of, pid_in, text_of
from .mutant import Mutant

_JUST_NOW = 60.0


class RespectsSiblingsAlone(LooksFirst):
    """Takes a PID for one that another process got, unless that was started by the same worker."""

    kills = "LOCK-003"

    def look(self, file: Path) -> None:
        owner = owner_of(file)
        with suppress(psutil.NoSuchProcess):
            if owner is not None and psutil.Process(owner).ppid() != os.getppid():
                file.unlink(missing_ok=True)


class FailsWhenItHasWaited(HoldsTheLock):
    """Wants to remove the file for which it has waited, and does not expect that its owner has done so."""

    kills = "LOCK-004"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        owner = owner_of(lock.file)
        with sound():
            if owner is not None and lives(owner):
                raise FileNotFoundError(lock.file)
            yield


class TriesTenTimesASecond(Mutant):
    """Counts its tries, and tries again after a tenth of a second."""

    kills = "LOCK-005"

    def spoil(self, operator: Any) -> None:
        from cosmos_venv.environments import lock as lock_module

        lock_module.TRY_SECONDS = 0.1


class RespectsTheDead(WaitsFor):
    """Waits for a process that is not to be found, as if it might not be asked."""

    kills = "LOCK-006"

    def respects(self, text: str, file: Path) -> bool:
        return text.isdigit() and not psutil.pid_exists(int(text))


class RespectsZombies(WaitsFor):
    """Asks whether a process has that PID, by `os.kill(pid, 0)`: a zombie has."""

    kills = "LOCK-007"

    def respects(self, text: str, file: Path) -> bool:
        return psutil.pid_exists(pid_in(text) or -1) and not lives(pid_in(text))


class WaitsForTheWriter(WaitsFor):
    """Waits until somebody writes into a lock file that is empty, and nobody ever will."""

    kills = "LOCK-008"

    def respects(self, text: str, file: Path) -> bool:
        return text == ""


class WaitsForANumber(WaitsFor):
    """Takes what cannot be read as a number for a PID that is half written."""

    kills = "LOCK-009"

    def respects(self, text: str, file: Path) -> bool:
        return text != "" and not text.isdigit()


class TakesTheLockAfterAllTries(HoldsTheLock):
    """Takes an owner for dead for whom it has waited long enough."""

    kills = "LOCK-015"

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        from cosmos_venv.exceptions import VirtualenvLockTimeout

        with ExitStack() as holding:
            try:
                holding.enter_context(sound())
            except VirtualenvLockTimeout:
                lock.file.unlink()
                holding.enter_context(sound())
            yield


class RespectsWhoeverHasThePid(WaitsFor):
    """Asks whether the process lives, and not since when."""

    kills = "LOCK-016"

    def respects(self, text: str, file: Path) -> bool:
        return began_after(pid_in(text), file)


class LooksForTheOwnerHere(LooksFirst):
    """Finds no process of a record that was written just now, and removes the kernel lock of its owner elsewhere."""

    kills = "LOCK-018"

    def look(self, file: Path) -> None:
        owner = pid_in(text_of(file))
        if owner and not psutil.pid_exists(owner) and time.time() - file.stat().st_mtime < _JUST_NOW:
            file.with_name(self.kernel_lock_file).unlink()


class OverridesAtFirstSight(Mutant):
    """Takes a lock file without a PID for a dead task's, however young the file is."""

    kills = "LOCK-021"

    def spoil(self, operator: Any) -> None:
        from cosmos_venv.environments import lock as lock_module

        lock_module._UNFINISHED_GRACE = 0.0


class WaitsForItself(WaitsFor):
    """Finds its own PID in the lock file, and waits for that process as for any other."""

    kills = "LOCK-022"

    def respects(self, text: str, file: Path) -> bool:
        return pid_in(text) == os.getpid()


class KnowsARecordByItsFile(Mutant):
    """Takes a lock file away that it has judged, though another PID was written into the file since."""

    kills = "LOCK-023"

    def spoil(self, operator: Any) -> None:
        from cosmos_venv.environments.lock import LockRecord

        def is_same_file(record: LockRecord, other: object) -> bool:
            return isinstance(other, LockRecord) and record.file == other.file

        LockRecord.__eq__ = is_same_file  # type: ignore[assignment]
