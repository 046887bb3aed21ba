"""A temporary folder that is gone after its block; should its process be killed, when the next one is made.

Airflow kills workers with SIGKILL too, and then nothing runs that could clean up. So a folder holds a file that its
process keeps locked, and whoever makes a folder removes those whose lock is free: the kernel knows who is dead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "cosmos-venv"
_OWNER = ".owner"


@contextmanager
def temporary_folder(purpose: str = "") -> Iterator[Path]:
    """A new folder below one whose name begins with ``cosmos-venv``, for this user alone.

    :param purpose: goes into the name, for people who look.
    """
    _remove_what_the_dead_left()
    # What cannot be deleted must not hide the error that ends the block.
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        lock = _own(folder)
        try:
            inner = folder / folder.name
            inner.mkdir(mode=0o700)
            yield inner
        finally:
            os.close(lock)


def _own(folder: Path) -> int:
    """Say whose it is, as one step: the file appears locked."""
    draft = folder / f"{_OWNER}.draft"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, _boot().encode())
        draft.rename(folder / _OWNER)
    except OSError:
        pass  # no locks here: then nobody else removes it, as ever
    return descriptor


def _remove_what_the_dead_left() -> None:
    try:
        found = [Path(entry.path) for entry in os.scandir(tempfile.gettempdir()) if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for folder in found:
        try:
            _remove_if_dead(folder)
        except OSError:
            continue  # another user's, no folder of this kind, or removed by another task now


def _remove_if_dead(folder: Path) -> None:
    owner = folder / _OWNER
    if folder.lstat().st_uid != os.geteuid():
        return
    descriptor = os.open(owner, os.O_RDWR | os.O_NOFOLLOW)
    try:
        # On a folder that several hosts share, a lock may be free and its owner alive.
        if os.read(descriptor, 64) != _boot().encode():
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The file last: what cannot be removed now is found again.
        for inner in folder.iterdir():
            if inner != owner:
                shutil.rmtree(inner)
        owner.unlink()
        folder.rmdir()
    finally:
        os.close(descriptor)


def _boot() -> str:
    """Which start of which machine this is; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
