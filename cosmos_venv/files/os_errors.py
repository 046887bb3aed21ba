"""Messages for a machine that has run out of disk space, open files or its temporary folder.

The advice for a directory that cannot be used ("make it writable") is wrong for a process that may open no more files.
If the temporary folder is full, an error that names this directory misleads. Installers say that a disk is full, seldom
which disk, and never what to do.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
OF_THIS_PROCESS = _TOO_MANY_FILES | {errno.ENOMEM, errno.EAGAIN}
"""Errors that say nothing of the file in question."""

_FULL_LINE = re.compile(r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|Errno (?:28|122)\b")
_MEGABYTE = 1_000_000


def free_megabytes(path: Path) -> float:
    """Return the space that is left for this user on a file system, in MB of 1,000,000 bytes.

    :param path: absolute; where nothing stands there, the nearest directory above it that exists counts.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize / _MEGABYTE


def shortage(error: OSError) -> str | None:
    """Return the message for too many open files, or a temporary folder that is full or gone; None for any other error.

    :param error: as the system call raised it.
    """
    number, folder, place = error.errno, temporary_folder(), place_of(error)
    if number in _TOO_MANY_FILES:
        return (
            f"{error.strerror}. Raise the limit of a process (ulimit -n, LimitNOFILE of systemd, --ulimit nofile of "
            "docker) or that of the machine (sysctl fs.file-max), or let this worker do less at once."
        )
    if "usable temporary directory" in str(error.strerror):
        return f"{error.strerror}: each is full, read-only, or closed to user id {os.geteuid()}. {_way_out(folder)}"
    if place is None or not place.is_relative_to(folder):
        return None
    if number == errno.ENOENT and not folder.exists():
        return f"The folder for temporary files, {folder}, is gone. Make it anew, or set TMPDIR to another one."
    if number not in {*FULL, errno.EROFS}:
        return None
    what = "is read-only" if number == errno.EROFS else "is full"
    return f"The folder for temporary files, {folder}, {what} ({error}). {_way_out(folder)}"


def reason_of(error: OSError, way_out: str = "") -> str:
    """Return the reason of an error and the way out, for the end of a sentence.

    :param error: as the system call raised it.
    :param way_out: a sentence to add where no disk or limit is exhausted; empty: none.
    """
    return shortage(error) or f"{error.strerror or error}. {way_out}".strip()


def is_about_a_full_disk(lines: Iterable[str]) -> bool:
    """Return whether the output of a tool says that a disk is full.

    :param lines: of its output.
    """
    return any(_FULL_LINE.search(line) for line in lines)


def temporary_folder() -> Path:
    """Return the folder for temporary files.

    ``tempfile.gettempdir`` writes a file, and finds no folder where all are full. This function writes nothing.
    """
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return Path(os.path.realpath(tempfile.tempdir or next(filter(None, named), "/tmp")))  # noqa: S108 - as tempfile has it


def place_of(error: OSError) -> Path | None:
    """Return the file that an error is about, as far as it says so.

    :param error: as the system call raised it.
    """
    return Path(os.path.realpath(os.fsdecode(error.filename))) if isinstance(error.filename, str | bytes) else None


def _way_out(folder: Path) -> str:
    return (
        f"Make room there ({free_megabytes(folder):.1f} MB free in {folder}), or set TMPDIR in the worker's "
        "environment to a folder on another disk."
    )


def full_disk_message(directory: Path, environ: Mapping[str, str]) -> str:
    """Return the message for a disk that is full, with what is left where an installation writes.

    :param directory: of the environment.
    :param environ: the installer's environment variables; TMPDIR and UV_CACHE_DIR count.
    """
    # Not tempfile.gettempdir, which tries to write and finds no place at all where everything is full.
    places = [directory, Path(environ.get("TMPDIR") or "/tmp")]  # noqa: S108
    places += [Path(environ["UV_CACHE_DIR"])] if environ.get("UV_CACHE_DIR") else []
    free = ", ".join(f"{free_megabytes(path):.1f} MB in {path}" for path in places)
    return (
        f"The disk is full. Free now: {free} (df -i shows free inodes). Make room, or "
        "name a directory on another disk (virtualenv_dir; TMPDIR and UV_CACHE_DIR in the worker's environment)."
    )
