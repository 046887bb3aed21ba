"""Files of ours in folders that others may reach: opened only as the plain files they are, made with known permissions.

Something else in their place (a link, a directory, or a named pipe, on which an ordinary open waits for ever) is an
error. Where others read meanwhile, a new file is written under a temporary name ("a name apart") and renamed, which is
atomic (``replace_atomically``). ``sweep_abandoned`` removes what a killed process has left under such a name.
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

from cosmos_venv.files.permissions import NOT_FOR_OTHERS, is_trusted_path, make_directory, writable_by_others

_FOR_ALL_TO_READ = 0o644
_OF_ANOTHER_KIND = {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR, errno.ENODEV, errno.ENOTDIR}
ABANDONED_SECONDS = 3_600.0
"""Age in seconds at which a file under a name apart counts as left by a killed process: no writer takes that long."""

_APART = r"\.[0-9a-f]{32}"  # compiled on first use: each parse for a task imports this file
_CLOCKS_DIFFER = 86_400.0  # the clocks of hosts that share a folder differ by no more than this


class OddFile(OSError):
    """Something that is no plain file has the name of a file of ours."""


def open_own(path: Path, flags: int, mode: int = _FOR_ALL_TO_READ) -> int:
    """Open a plain file. The last part of the path is not followed when it is a link; no named pipe is waited for.

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
    """Make a file. After an error no part of the file is left.

    :param path: where the file is made.
    :param content: text (written as UTF-8) or bytes.
    :param mode: permission bits of the file; the umask can only take some away.
    :raises FileExistsError: when anything stands there, a dangling link included.
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
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a free name beside ``path``; after the block, what was made under that name replaces ``path`` atomically.

    The block may make a file or a link, or a directory where ``path`` does not exist. Readers see the old or the new
    content, never half of it. After an error in the block ``path`` is unchanged, and nothing new is left.

    :param path: of what is replaced, or made.
    :raises OSError: when it cannot be put in its place.
    """
    with temporary_name(path.parent) as apart:
        yield apart
        apart.replace(path)


@contextmanager
def temporary_name(folder: Path) -> Iterator[Path]:
    """Yield a free name in a folder; what stands under that name after the block is removed.

    For a caller that renames the new file within the block. Other callers take ``replace_atomically``.

    :param folder: in which something is made.
    """
    apart = folder / f".{os.urandom(16).hex()}"
    try:
        yield apart
    finally:
        remove_temporary(apart)


def remove_temporary(path: Path) -> None:
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

    :param folder: in which ``replace_atomically`` makes its names.
    :param seconds: age at which a name counts. 0: every name counts, also a name with a time in the future, as the
        clock of an NFS server may be ahead. Only for a caller whose lock keeps other processes from making such names.
    :raises OSError: when the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if re.fullmatch(_APART, path.name)]
        return [path for path in found if not seconds or age(path.lstat().st_mtime) >= seconds]
    except (FileNotFoundError, NotADirectoryError):  # another process sweeps too
        return []


def sweep_abandoned(folder: Path) -> None:
    """Remove from a folder what killed processes have left under names apart for more than an hour.

    :param folder: in which ``replace_atomically`` makes its names.
    :raises OSError: when the folder cannot be read.
    """
    for path in abandoned(folder):
        remove_temporary(path)


def age(modified: float) -> float:
    """Return the seconds since a file was written, by its time; infinite where that lies more than a day ahead.

    Clocks of hosts that share a folder differ by less than a day. A file with a time further ahead would never grow
    old.

    :param modified: seconds since the epoch.
    """
    seconds = time.time() - modified
    return float("inf") if seconds < -_CLOCKS_DIFFER else seconds


def make_private(folder: Path) -> None:
    """Make a folder and its parent for this user alone. Folders above the parent get the usual permissions.

    :param folder: the folder of our files.
    """
    make_directory(folder.parent.parent)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def is_private(folder: Path) -> bool:
    """Whether nobody else can put a file into the folder, or replace it: what is read there decides which SQL runs.

    :param folder: the folder of our files.
    """
    try:
        found = [path.lstat() for path in (folder.parent, folder)]
    except OSError:
        return False
    return all(
        stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022 for status in found
    ) and is_trusted_path(folder.parent)


def shut_out_others(folder: Path) -> None:
    """Remove the write permission of others from everything below a folder.

    :param folder: an existing directory of this user.
    :raises OSError: when that cannot be done.
    """
    for path, status, _ in list(writable_by_others(folder)):
        path.chmod(status.st_mode & NOT_FOR_OTHERS)
