"""Which disk is full? Installers say that one is, seldom which, and never what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_FULL = re.compile(r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|Errno (?:28|122)\b")
_MEGABYTE = 1_000_000


def is_about_a_full_disk(lines: Iterable[str]) -> bool:
    """Whether a tool that failed said so."""
    return any(_FULL.search(line) for line in lines)


def full_disk_message(free: Mapping[str, float]) -> str:
    """What a user reads.

    :param free: what is left for each directory in question, in MB.
    """
    least_first = sorted(free.items(), key=lambda item: item[1])
    places = ", ".join(f"{megabytes:.1f} MB for {place}" for place, megabytes in least_first)
    return (
        f"The disk is full. Free now: {places}. Make room, or name a directory on another disk "
        "(virtualenv_dir; TMPDIR and UV_CACHE_DIR in the worker's environment)."
    )


def free_space(directory: Path, environ: Mapping[str, str]) -> dict[str, float]:
    """What is left for this user, in MB, where an installation into ``directory`` writes."""
    # Not tempfile.gettempdir, which tries to write and finds no place at all where everything is full.
    places = {"the environment": directory, "temporary files": Path(environ.get("TMPDIR") or "/tmp")}  # noqa: S108
    if environ.get("UV_CACHE_DIR"):
        places["uv's cache"] = Path(environ["UV_CACHE_DIR"])
    return {f"{what} in {path}": _free(path) for what, path in places.items()}


def _free(path: Path) -> float:
    while not path.exists() and path != path.parent:
        path = path.parent
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize / _MEGABYTE if status.f_favail or not status.f_files else 0.0
