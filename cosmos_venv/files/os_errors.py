"""Messages for a machine that has run out of disk space, open files or its temporary folder, or has an unfit mount.

The advice for a directory that cannot be used ("make it writable") is wrong for a process that may open no more files.
If the temporary folder is full, an error that names this directory misleads. Installers say that a disk is full, seldom
which disk, and never what to do.

An installation on a ``noexec`` mount succeeds, but its commands cannot run. Its Python does run, since that is a link
to a program elsewhere. So such a mount is refused before anything is built. Mounted object stores, SMB and FAT have no
hard links: the lock refuses them.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv.exceptions import VirtualenvError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
OF_THIS_PROCESS = _TOO_MANY_FILES | {errno.ENOMEM, errno.EAGAIN}
"""Errors that say nothing of the file in question."""

_NOT_PERMITTED = {errno.EPERM, errno.EACCES, errno.EMLINK}
UNSUPPORTED = _NOT_PERMITTED | {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of a file system without links or locks, in a writable directory. A full disk has other errors: ``FULL``."""

_UNQUOTABLE = '\n"$`'
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


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add this path to an error without a file name: an error of a full disk while a file is written has none.

    :param path: of the file that the block works on.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


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


def refuse_noexec(directory: Path, *, parameter: str = "virtualenv_dir") -> None:
    """Refuse a directory whose file system starts no program.

    :param directory: an existing directory.
    :param parameter: what the user would change; begins the message.
    :raises VirtualenvError: when it is mounted noexec.
    :raises OSError: when its file system cannot be asked.
    """
    if os.statvfs(directory).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise unfit(directory, "is mounted noexec: no program in it can be started", parameter=parameter)


def refuse_unfit_path(build: Path) -> None:
    """Refuse a path with a character that a shell acts on: installers write the path into the first lines of commands.

    :param build: directory of the environment.
    :raises VirtualenvError: names ``virtualenv_dir`` and the character.
    """
    character = next((character for character in _UNQUOTABLE if character in str(build)), "")
    if character:
        raise VirtualenvError(
            f"virtualenv_dir: {str(build)!r} has {character!r} in it, and commands that are installed there could not "
            "be started. Give virtualenv_dir a path without it."
        )


def unfit(directory: Path, fault: str, *, parameter: str = "virtualenv_dir") -> VirtualenvError:
    """Return the error for a directory whose file system cannot hold environments.

    :param directory: the directory in question.
    :param fault: the second half of a sentence about its file system: "does not support symbolic links".
    :param parameter: the name under which the user gave the directory.
    """
    return VirtualenvError(
        f"{parameter} {directory}: its file system {fault}. Use a directory on a local disk or on a network file "
        "system such as NFS 4, mounted with exec; a mounted object store (S3, GCS, Azure Blob) is none. "
        "For environments that come with the image, run cosmos-venv env warm when it is made."
    )
