"""Faults of the lock: what a task does before it looks at the lock, and while it holds it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from pytest_cosmos_venv.conformance.harness.processes import lives

from .doing import DoesOtherwise
from .mutant import Mutant, Original

Sound = partial[AbstractContextManager[None]]
"""How the lock should be held, its options ``max_tries``, ``cancellation`` and ``report`` given."""

PATIENCE = 0.5
"""Seconds for which a faulty task waits that has no tries left."""


def lock_file_of(operator: Any) -> Path | None:
    """The lock file; None for an operator without ``virtualenv_dir``."""
    return None if operator.virtualenv_dir is None else Path(operator.virtualenv_dir, "cosmos_virtualenv.lock")


def text_of(file: Path) -> str | None:
    """The text of the file; None when there is no such file."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None


def pid_in(text: str | None) -> int:
    """0 when it holds none."""
    return int(text) if text is not None and text.isdigit() else 0


def owner_of(file: Path) -> int | None:
    """PID of the other process that has the lock: it stands in the file, lives, and is older than the file."""
    owner = pid_in(text_of(file))
    try:
        return None if owner == os.getpid() or not lives(owner) or began_after(owner, file) else owner
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def began_after(pid: int, file: Path) -> bool:
    """Whether the process lives, and is younger than the file."""
    return lives(pid) and psutil.Process(pid).create_time() > file.stat().st_mtime + 1.0


def write_own_number(file: Path | None) -> None:
    """Write this process's number into the file, as one who holds the lock."""
    if file is not None:
        file.write_text(str(os.getpid()), encoding="ascii")


class LooksFirst(DoesOtherwise):
    """Whoever is about to run looks at the lock file before all else."""

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        if (file := lock_file_of(operator)) is not None:
            self.look(file)
        return sound(*args, **kwargs)

    def look(self, file: Path) -> None:
        """Find what stands there, and do wrong."""
        raise NotImplementedError


class WaitsFor(LooksFirst):
    """Whoever finds a record that he respects waits for its end, and gives up soon."""

    def look(self, file: Path) -> None:
        end = time.monotonic() + PATIENCE
        while (text := text_of(file)) is not None and self.respects(text, file):
            if time.monotonic() > end:
                raise TimeoutError(f"{file} ({text!r}) is still there.")
            time.sleep(0.02)

    def respects(self, text: str, file: Path) -> bool:
        """Whether it is waited for what stands in the lock file."""
        raise NotImplementedError


class HoldsTheLock(Mutant):
    """Whoever builds holds the lock in another way."""

    def spoil(self, operator: Any) -> None:
        from cosmos_venv.environments.lock import VirtualenvLock

        lock_class: Any = VirtualenvLock  # that of this task's own process
        sound, held = lock_class.acquire, self.held
        if hasattr(sound, "is_faulty"):  # an earlier task of this process has come by here
            return

        def acquire(lock: VirtualenvLock, **options: Any) -> AbstractContextManager[None]:
            return held(lock, partial(sound, lock, **options))

        lock_class.acquire = acquire
        lock_class.acquire.is_faulty = True

    @contextmanager
    def held(self, lock: Any, sound: Sound) -> Iterator[None]:
        """Within this block the lock is held, or so it is thought.

        :param sound: how it should be held; takes options that are to be others.
        """
        raise NotImplementedError
        yield
