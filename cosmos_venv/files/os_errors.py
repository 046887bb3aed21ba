"""Messages for a machine that has run out of disk space, open files or its temporary folder, or has an unfit mount.

The advice for a directory that cannot be used ("make it writable") is wrong for a process that may open no more files.
If the temporary folder is full, an error that names this directory misleads. Installers say that a disk is full, seldom
which disk, and never what to do.

Whether a file system can hold environments is tried out before anything is built, never on the path of a task that
finds its environment. An installation on a ``noexec`` mount succeeds, but its commands cannot run. Its Python does run,
since that is a link to a program elsewhere. Mounted object stores have no links, and some of them no permissions.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.exceptions import VirtualenvError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
OF_THIS_PROCESS = _TOO_MANY_FILES | {errno.ENOMEM, errno.EAGAIN}
"""Errors that say nothing of the file in question."""

TRIAL_PREFIX = ".cosmos-venv-trial-"
_NOT_PERMITTED = {errno.EPERM, errno.EACCES, errno.EMLINK}
UNSUPPORTED = _NOT_PERMITTED | {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of a file system without links or locks, in a writable directory. A full disk has other errors: ``FULL``."""

_UNQUOTABLE = '\n"$`'
_FULL_LINE = re.compile(r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|Errno (?:28|122)\b")
_MEGABYTE = 1_000_000
_FEW_FILES = 1_000  # fewer than an environment with dbt has


@dataclass(frozen=True, kw_only=True)
class FreeSpace:
    """The space that is left for this user on one file system.

    :param megabytes: free space, in MB of 1,000,000 bytes.
    :param files: number of files that can still be made, where few are left; None: enough are left.
    """

    megabytes: float
    files: int | None = None

    def __str__(self) -> str:
        return f"{self.megabytes:.1f} MB" if self.files is None else f"{self.files} more files"

    @classmethod
    def at(cls, path: Path) -> FreeSpace:
        """Return what is left on the file system of a path, or of the nearest directory above it that exists.

        :param path: absolute; nothing need stand there.
        """
        while not path.exists() and path != path.parent:
            path = path.parent
        status = os.statvfs(path)
        # Some file systems count no files: 0 of 0 are left.
        is_short_of_files = status.f_files > 0 and status.f_favail < _FEW_FILES
        return cls(
            megabytes=status.f_bavail * status.f_frsize / _MEGABYTE,
            files=status.f_favail if is_short_of_files else None,
        )


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
        f"Make room there ({FreeSpace.at(folder)} free in {folder}), or set TMPDIR in the worker's environment to a "
        "folder on another disk."
    )


def full_disk_message(directory: Path, environ: Mapping[str, str]) -> str:
    """Return the message for a disk that is full, with what is left where an installation writes.

    :param directory: of the environment.
    :param environ: the installer's environment variables; TMPDIR and UV_CACHE_DIR count.
    """
    # Not tempfile.gettempdir, which tries to write and finds no place at all where everything is full.
    places = [directory, Path(environ.get("TMPDIR") or "/tmp")]  # noqa: S108
    places += [Path(environ["UV_CACHE_DIR"])] if environ.get("UV_CACHE_DIR") else []
    return (
        f"The disk is full. Free now: {', '.join(f'{FreeSpace.at(path)} in {path}' for path in places)}. Make room, or "
        "name a directory on another disk (virtualenv_dir; TMPDIR and UV_CACHE_DIR in the worker's environment)."
    )


def refuse_unfit(directory: Path, *, parameter: str = "virtualenv_dir") -> None:
    """Try in an existing directory what an environment needs. The trial is removed; after a kill, the next holder of
    the directory's lock removes it.

    :param directory: an existing directory.
    :param parameter: what the user would change; begins the message.
    :raises VirtualenvError: what its file system cannot do, and what to use instead.
    :raises OSError: when it cannot be tried: the directory is not writable, the disk is full.
    """
    if os.statvfs(directory).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise unfit(directory, "is mounted noexec: no program in it can be started", parameter=parameter)
    trial = Path(tempfile.mkdtemp(prefix=TRIAL_PREFIX, dir=directory))
    what = "symbolic links"
    try:
        (trial / "link").symlink_to("first")
        what = "permissions (chmod)"
        trial.chmod(0o700)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        raise unfit(directory, f"does not support {what} ({error.strerror})", parameter=parameter) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)


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
