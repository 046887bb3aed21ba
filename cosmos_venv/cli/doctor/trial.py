"""Where is tried what a mount can do? In a folder of its own there, which nobody takes for part of a store."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".cosmos-venv-doctor-"
_LEFT = 86_400.0  # seconds after which a folder is what a killed doctor has left


def named(directory: Path, token: str) -> Path:
    """The folder of that token."""
    return directory / f"{_PREFIX}{token}"


def why_no_trial(directory: Path) -> str:
    """Why nothing can be tried there; empty where it can."""
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "It is mounted read-only"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"User id {os.geteuid()} may not write there"
    return ""


@contextmanager
def trial_folder(directory: Path, token: str | None = None) -> Iterator[Path]:
    """A new folder, gone after the block, as are those that killed ones have left.

    :param token: what it is called for others to find it.
    :raises OSError: when it cannot be made.
    """
    for left in directory.glob(f"{_PREFIX}*"):
        if time.time() - left.lstat().st_mtime > _LEFT:
            shutil.rmtree(left, ignore_errors=True)
    folder = named(directory, token or os.urandom(8).hex())
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
