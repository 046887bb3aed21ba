"""When was the last attempt to upgrade a build, if it failed? Then the next one is put off."""

from __future__ import annotations

import time
from pathlib import Path

from cosmos_venv.own_files import write_anew

LONGEST_PAUSE = 3600.0
"""Seconds until a failed upgrade is tried again; less where upgrades are wanted more often."""


def failure_file(build: Path) -> Path:
    """What was said when the build could not be replaced by a newer one; its time is that of the attempt."""
    return build.with_name(f"{build.name}.upgrade-failed")


def is_put_off(build: Path, *, pause: float) -> bool:
    """Whether an upgrade of the build has failed less than ``pause`` seconds ago."""
    try:
        age = time.time() - failure_file(build).stat().st_mtime
    except OSError:
        return False
    return 0 <= age < pause


def put_off(build: Path, message: str) -> None:
    """Note that an upgrade of the build has just failed.

    :raises OSError: when that cannot be noted.
    """
    write_anew(failure_file(build), f"{message}\n")
