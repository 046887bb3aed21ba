"""Files of ours in folders that others may reach: opened only as the plain files they are, made with known permissions.

Something else in their place (a link, a directory, or a named pipe, on which an ordinary open waits for ever) is an
error. Where others read meanwhile, a new file is made under a name apart and takes its place in one step
(``in_one_step``); what a kill leaves of that, ``sweep_abandoned`` removes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cosmos_venv.files.permissions import NOT_FOR_OTHERS, is_trusted_way, make_directory, writable_by_others

_FOR_ALL_TO_READ = 0o644
_OF_ANOTHER_KIND = {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR, errno.ENODEV, errno.ENOTDIR}
ABANDONED_SECONDS = 3_600.0
"""Seconds after which what stands under a name apart belongs to a process that is gone: nothing takes that long."""

_APART = r"\.[0-9a-f]{32}"  # compiled on first use: each parse for a task imports this file
_CLOCKS_DIFFER = 86_400.0  # between hosts that share a folder; by no more than that


class OddFile(OSError):
    """The name of a file of ours belongs to something that is no plain file."""


def open_own(path: Path, flags: int, mode: int = _FOR_ALL_TO_READ) -> int:
    """Open a plain file. No link is followed in the last place, and no named pipe is waited for.

    :param path: where the file stands, or is made.
    :param flags: as for ``os.open``.
    :param mode: permission bits where the file is made; the umask can only take some away.
    :returns: the file descriptor, which the caller closes.
    :raises OddFile: when something else stands there.
    :raises OSError: when it cannot be opened.
    """
    odd = OddFile(errno.EINVAL, "it is a link, a named pipe, or another thing that is no plain file", str(path))
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno in _OF_ANOTHER_KIND and os.path.lexists(path):
            raise odd from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise odd
    return descriptor


def write_new(path: Path, content: str | bytes, mode: int = _FOR_ALL_TO_READ) -> None:
    """Make a file. Nothing is left of one that could not be written.

    :param path: where the file is made.
    :param content: text (written as UTF-8) or bytes.
    :param mode: permission bits of the file; the umask can only take some away.
    :raises FileExistsError: when anything stands there, a link that leads nowhere included.
    :raises OSError: when it cannot be made.
    """
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(content.encode() if isinstance(content, str) else content)
    except BaseException:
        path.unlink(missing_ok=True)  # the disk is full
        raise


@contextmanager
def in_one_step(path: Path) -> Iterator[Path]:
    """Give a free name beside ``path``; what the block makes under it takes the place of ``path`` after the block.

    It may be a file or a link, or a directory where nothing stands yet. Readers see the old one or the new one, never a
    half. After an error in the block the old one stands there, and nothing is left of the new one.

    :param path: of what is replaced, or made.
    :raises OSError: when it cannot be put in its place.
    """
    with name_apart(path.parent) as apart:
        yield apart
        apart.replace(path)


@contextmanager
def name_apart(folder: Path) -> Iterator[Path]:
    """Give a free name in a folder; what stands under it after the block is removed.

    For what gets its own name as late as in the block, which renames it; otherwise ``in_one_step``.

    :param folder: in which something is made.
    """
    apart = folder / f".{os.urandom(16).hex()}"
    try:
        yield apart
    finally:
        remove_apart(apart)


def remove_apart(path: Path) -> None:
    """Remove what stands under a name apart, if anything does. An error is ignored: a sweep tries again later.

    :param path: of a file, a link or a directory.
    """
    if path.is_dir() and not path.is_symlink():
        import shutil  # for the few that have made a directory

        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def abandoned(folder: Path, *, seconds: float = ABANDONED_SECONDS) -> list[Path]:
    """Return what killed processes have left in a folder under names apart; none where there is no such folder.

    :param folder: in which ``in_one_step`` makes its names.
    :param seconds: age at which a name counts; 0 for a caller whose lock keeps every other process from making one:
        every name counts then, also one whose time lies ahead, as the clock of an NFS server may have it.
    :raises OSError: when the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if re.fullmatch(_APART, path.name)]
        return [path for path in found if not seconds or age(path.lstat().st_mtime) >= seconds]
    except (FileNotFoundError, NotADirectoryError):  # another process sweeps too
        return []


def sweep_abandoned(folder: Path) -> None:
    """Remove from a folder what killed processes have left under names apart for more than an hour.

    :param folder: in which ``in_one_step`` makes its names.
    :raises OSError: when the folder cannot be read.
    """
    for path in abandoned(folder):
        remove_apart(path)


def age(modified: float) -> float:
    """Return the seconds since a file was written, by its time; infinite where that lies more than a day ahead.

    Clocks of hosts that share a folder differ by less than a day. A file with a time further ahead would never grow
    old.

    :param modified: seconds since the epoch.
    """
    seconds = time.time() - modified
    return float("inf") if seconds < -_CLOCKS_DIFFER else seconds


def make_private(folder: Path) -> None:
    """Make a folder of this user alone, and the one above it; those above that are made as others may use them.

    :param folder: of the files of ours.
    """
    make_directory(folder.parent.parent)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def is_private(folder: Path) -> bool:
    """Whether nobody else can put a file into the folder, or replace it: what is read there decides which SQL runs.

    :param folder: of the files of ours.
    """
    try:
        found = [path.lstat() for path in (folder.parent, folder)]
    except OSError:
        return False
    return all(
        stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022 for status in found
    ) and is_trusted_way(folder.parent)


def shut_out_others(folder: Path) -> None:
    """Take from others what they could write in a folder.

    :param folder: an existing directory of this user.
    :raises OSError: when that cannot be done.
    """
    for path, status, _ in list(writable_by_others(folder)):
        path.chmod(status.st_mode & NOT_FOR_OTHERS)
