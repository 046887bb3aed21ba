"""Temporary folders of tests, removed without following links, and locks on folders."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def throwaway_folder(prefix: str, *, within: Path | str | None = None) -> Iterator[Path]:
    """Yield a new folder, and remove it at the end with everything below it, including read-only folders.

    Not ``tempfile.TemporaryDirectory``: before Python 3.10.14, 3.11.8 and 3.12.1 (CVE-2023-6597) it sets mode 0700 on
    entries that it cannot delete, and follows links. In a read-only environment the link ``bin/python`` leads to the
    user's Python, which no other user could start any more.

    :param prefix: the beginning of its name.
    :param within: the folder in which it is made; None: the default of ``tempfile``.
    :raises OSError: it cannot be made. Files that cannot be removed are left.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Delete a folder with everything below it that this user may delete, including read-only folders.

    :param folder: the folder; it may be gone already.
    """
    _open(folder)
    shutil.rmtree(folder, ignore_errors=True)


def remove_entry(path: Path) -> None:
    """Delete a folder with everything below it, a file, or a link without its target; a missing path is no error.

    :param path: the path.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _open(folder: Path) -> None:
    """Let the user write to each folder below, before the walk lists it: top-down, without following links."""
    for place, names, _ in os.walk(folder):
        for below in (Path(place, name) for name in names):
            try:
                mode = below.lstat().st_mode
                if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                    below.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
            except OSError:
                continue  # another user's folder, or already removed


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, for which other processes of the test, such as contenders, wait.

    :param folder: an existing folder.
    """
    # A lock on the folder itself leaves no file, and ends with the process.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
