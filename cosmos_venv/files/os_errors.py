"""Messages for a machine that has run out of disk space, open files or its temporary folder.

The advice for a directory that cannot be used ("make it writable") is wrong for a process that may open no more files,
and the name of the directory is wrong for a temporary folder that is full.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
OF_THIS_PROCESS = _TOO_MANY_FILES | {errno.ENOMEM, errno.EAGAIN}
"""Errors that say nothing of the file in question."""

_FULL_LINE = re.compile(r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|Errno (?:28|122)\b")
_TOO_MANY_FILES_LINE = re.compile(r"Too many open files|os error (?:23|24)\b|Errno (?:23|24)\b")
_MEGABYTE = 1_000_000
_FEW_FILES = 1_000  # fewer than an environment with dbt has


@dataclass(frozen=True, kw_only=True)
class FreeSpace:
    """The space that is left for this user on one file system.

    :param megabytes: free space, in MB of 1,000,000 bytes.
    :param files: number of files that can still be made, where that is what is scarce; None: enough.
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
    """Let an error without a file name carry this one: a disk that is full while a file is written names none.

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
    number = _number_of(error)
    if number in _TOO_MANY_FILES:
        return too_many_files_message()
    folder = temporary_folder()
    if "usable temporary directory" in str(error.strerror):
        return f"{error.strerror}: each is full, read-only, or closed to user id {os.geteuid()}. {_way_out(folder)}"
    if number is None or not _is_below(place_of(error), folder):
        return None
    if number == errno.ENOENT and not folder.exists():
        return f"The folder for temporary files, {folder}, is gone. Make it anew, or set TMPDIR to another one."
    if number not in {*FULL, errno.EROFS}:
        return None
    what = "is read-only" if number == errno.EROFS else "is full"
    reason = error if error.errno else f"{os.strerror(number)}: {error.filename}"
    return f"The folder for temporary files, {folder}, {what} ({reason}). {_way_out(folder)}"


def reason_of(error: OSError, way_out: str = "") -> str:
    """Return the reason of an error and the way out, for the end of a sentence.

    :param error: as the system call raised it.
    :param way_out: a sentence for where nothing has run out; empty: none.
    """
    return shortage(error) or f"{error.strerror or error}. {way_out}".strip()


def too_many_files_message() -> str:
    """Return the message for a process that can open no more files."""
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"Too many files are open: a process of this worker may have {most}. Raise that limit (ulimit -n, LimitNOFILE "
        "of systemd, --ulimit nofile of docker) or that of the machine (sysctl fs.file-max), or let it do less at once."
    )


def is_about_a_full_disk(lines: Iterable[str]) -> bool:
    """Return whether the output of a tool says that a disk is full.

    :param lines: of its output.
    """
    return any(_FULL_LINE.search(line) for line in lines)


def is_about_too_many_files(lines: Iterable[str]) -> bool:
    """Return whether the output of a tool says that too many files are open.

    :param lines: of its output.
    """
    return any(_TOO_MANY_FILES_LINE.search(line) for line in lines)


def advice_for_a_tool(lines: Iterable[str], folder: Path) -> str | None:
    """Return the message for a tool that met too many open files, or a temporary folder without room; None otherwise.

    A database says "no space left on device" of its own disk too, so the temporary folder is looked at.

    :param lines: of the tool's output.
    :param folder: in which the tool has worked.
    """
    last = list(lines)
    if is_about_too_many_files(last):
        return too_many_files_message()
    temporary = temporary_folder()
    full = [line for line in last if _FULL_LINE.search(line)]
    if not full or not _is_below(Path(os.path.realpath(folder)), temporary):
        return None
    is_named = any(str(temporary) in line for line in full)
    return f"The folder for temporary files is full. {_way_out(temporary)}" if is_named or _is_full(temporary) else None


def temporary_folder() -> Path:
    """Return the folder for temporary files.

    ``tempfile.gettempdir`` tries to write and finds no place at all where everything is full; this does not.
    """
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return Path(os.path.realpath(tempfile.tempdir or next(filter(None, named), "/tmp")))  # noqa: S108 - as tempfile has it


def place_of(error: OSError) -> Path | None:
    """Return the file that an error is about, as far as it says so. Of two files it is the one that was written.

    :param error: as the system call raised it.
    """
    name = error.filename2 if error.filename2 is not None and _number_of(error) in FULL else error.filename
    return Path(os.path.realpath(os.fsdecode(name))) if isinstance(name, str | bytes) else None


def _number_of(error: OSError) -> int | None:
    if isinstance(error, shutil.Error):  # of a whole tree: it has texts alone
        found = re.search(r"\[Errno (\d+)\]", str(error.args))
        return int(found.group(1)) if found else None
    return error.errno


def _is_below(path: Path | None, folder: Path) -> bool:
    return path is not None and path.is_relative_to(folder)


def _is_full(folder: Path) -> bool:
    space = FreeSpace.at(folder)
    return space.files is not None or space.megabytes < 1


def _way_out(folder: Path) -> str:
    return (
        f"Make room there ({FreeSpace.at(folder)} free in {folder}), or set TMPDIR in the worker's environment to a "
        "folder on another disk."
    )
