"""Which disk is full? Installers say that one is, seldom which, and never what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_FULL = re.compile(r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|Errno (?:28|122)\b")
_MEGABYTE = 1_000_000
_FEW_FILES = 1_000  # fewer than an environment with dbt has


def is_about_a_full_disk(lines: Iterable[str]) -> bool:
    """Whether a tool that failed said so."""
    return any(_FULL.search(line) for line in lines)


@dataclass(frozen=True, kw_only=True)
class FreeSpace:
    """What is left for this user on one file system.

    :param files: how many more files, where that is what is scarce; None: enough.
    """

    megabytes: float
    files: int | None = None

    def __str__(self) -> str:
        return f"{self.megabytes:.1f} MB" if self.files is None else f"{self.files} more files"

    @classmethod
    def at(cls, path: Path) -> FreeSpace:
        """Where the path, or what it would be made in, lies."""
        while not path.exists() and path != path.parent:
            path = path.parent
        status = os.statvfs(path)
        # Some file systems count no files: 0 of 0 are left.
        is_short_of_files = status.f_files > 0 and status.f_favail < _FEW_FILES
        return cls(
            megabytes=status.f_bavail * status.f_frsize / _MEGABYTE,
            files=status.f_favail if is_short_of_files else None,
        )


def full_disk_message(free: Mapping[str, FreeSpace]) -> str:
    """What a user reads.

    :param free: what is left for each directory in question.
    """
    least_first = sorted(free.items(), key=lambda item: (item[1].files is None, item[1].megabytes))
    places = ", ".join(f"{space} for {place}" for place, space in least_first)
    return (
        f"The disk is full. Free now: {places}. Make room, or name a directory on another disk "
        "(virtualenv_dir; TMPDIR and UV_CACHE_DIR in the worker's environment)."
    )


def free_space(directory: Path, environ: Mapping[str, str]) -> dict[str, FreeSpace]:
    """What is left where an installation into ``directory`` writes."""
    # Not tempfile.gettempdir, which tries to write and finds no place at all where everything is full.
    places = {"the environment": directory, "temporary files": Path(environ.get("TMPDIR") or "/tmp")}  # noqa: S108
    if environ.get("UV_CACHE_DIR"):
        places["uv's cache"] = Path(environ["UV_CACHE_DIR"])
    return {f"{what} in {path}": FreeSpace.at(path) for what, path in places.items()}
