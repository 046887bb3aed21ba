"""Which disk is full? Installers say that one is, seldom which, and never what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cosmos_venv.os_errors import FreeSpace


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
