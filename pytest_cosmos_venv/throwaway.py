"""Folders of tests: those that are gone afterwards, removed without a step through a link, and their locks."""

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
    """A new folder, removed at the end with all below it, folders included that nobody may write to.

    Not ``tempfile.TemporaryDirectory``: before Python 3.10.14, 3.11.8 and 3.12.1 (CVE-2023-6597) that one makes what it
    may not delete mode 0700, through links too. In an environment that is closed to writing, that is ``bin/python``,
    and so the Python of the user, which nobody else can start from then on.

    :param prefix: the beginning of its name.
    :param within: the folder in which it is made; None: that of ``tempfile``.
    :raises OSError: it cannot be made. Files that cannot be removed are left.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Delete a folder and all below it that this user may delete, folders included that nobody may write to.

    :param folder: the folder; it may be gone already.
    """
    _open(folder)
    shutil.rmtree(folder, ignore_errors=True)


def remove_entry(path: Path) -> None:
    """Delete a folder with all below it, or whatever else stands there; a link alone goes, and nothing may be there.

    :param path: the path.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _open(folder: Path) -> None:
    """Let the user write to each folder of its own. Each is opened before it is listed: top-down, past links."""
    for place, names, _ in os.walk(folder):
        for below in (Path(place, name) for name in names):
            try:
                mode = below.lstat().st_mode
                if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                    below.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
            except OSError:
                continue  # somebody else's, or gone: removing it says the same


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep every other process of the test, such as a contender, out of such a block for the same folder.

    :param folder: an existing folder.
    """
    # A lock on the folder itself leaves no file, and ends with the process.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
