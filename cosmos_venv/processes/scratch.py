"""Temporary folders that are gone after a kill too: the next process that makes such a folder removes them.

Beside each folder stands a lease, ``<folder>.lease``. It is locked for as long as the process that made the folder
lives, or a process that got the lease (``descriptors_of``: for ``keep_open`` of a guarded command). The lease is also
the mark of our folders: another implementation makes ``cosmos-venv…`` folders too, without a lease.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cosmos_venv.files.kernel_lock import flock_at_once, is_still, lease_path
from cosmos_venv.files.own_files import naming, open_own

PREFIX = "cosmos-venv"
"""The beginning of the names of all these folders."""

# No name that tempfile makes fits: it ends in 8 random characters.
_LEASE_NAME = rf"{PREFIX}(?:-[a-z-]+-)?[0-9a-f]{{16}}\.lease"
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600

_held: dict[Path, int] = {}


@contextmanager
def scratch_folder(prefix: str = PREFIX) -> Iterator[Path]:
    """Make a new, empty folder of this user alone below the temporary folder; it is gone after the block.

    Folders of killed processes are removed first. The path is the real one, without links.

    :param prefix: what its name begins with: ``cosmos-venv``, or ``cosmos-venv-<letters>-``.
    :raises OSError: when it cannot be made, or the mount knows no locks.
    """
    parent = Path(os.path.realpath(tempfile.gettempdir()))
    if not _held:  # once for each piece of work: a temporary folder may hold thousands of entries
        _remove_leavings(parent)
    folder, lease = _make(parent, prefix)
    _held[folder] = lease
    try:
        yield folder
    finally:
        _held.pop(folder, None)
        try:
            remove(folder)
        finally:
            os.close(lease)


def descriptors_of(folder: Path) -> tuple[int, ...]:
    """Return the descriptor whose lock keeps the folder: for ``keep_open`` of a guarded command that works in it.

    :param folder: as ``scratch_folder`` gave it.
    """
    descriptor = _held.get(folder)
    return () if descriptor is None else (descriptor,)


def remove(folder: Path) -> None:
    """Delete a folder and then its lease. A folder that cannot be deleted keeps its lease, for the next process.

    :param folder: a scratch folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        lease_path(folder).unlink(missing_ok=True)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make the lease, then the folder: a folder without a lease would never be found again."""
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        path = lease_path(folder)
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
        try:
            with naming(path):
                is_held = flock_at_once(descriptor) and is_still(descriptor, path)
            if is_held:  # else a process that removes leftover folders has locked it in between
                folder.mkdir(mode=_PRIVATE_FOLDER)
                return folder, descriptor
        except BaseException:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_leavings(parent: Path) -> None:
    """Remove the folders of dead processes of this user. Errors are ignored: the next process tries again."""
    with suppress(OSError):
        for name in os.listdir(parent):  # noqa: PTH208 - thousands of entries
            lease = parent / name
            if not re.fullmatch(_LEASE_NAME, name):
                continue
            # Read-only: the toolkit's parse budget failed where a lease of another process was opened for writing.
            with suppress(OSError), os.fdopen(open_own(lease, os.O_RDONLY)) as file:
                is_own = os.fstat(file.fileno()).st_uid == os.geteuid()
                if is_own and flock_at_once(file.fileno()) and is_still(file.fileno(), lease):
                    remove(lease.with_suffix(""))
