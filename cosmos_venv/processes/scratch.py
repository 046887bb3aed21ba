"""Temporary folders that are gone after a kill too: the next one who makes a folder removes what the dead left.

Beside each folder stands a lease, ``<folder>.lease``, locked for as long as the process that made the folder lives, or
anything that it handed the lease to (``descriptors_of``: for ``keep_open`` of a guarded command). The lease is also the
mark by which a folder is known to be ours: another implementation makes ``cosmos-venv…`` folders too, without any.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.files.durable_files import open_own
from cosmos_venv.files.kernel_lock import is_still

if TYPE_CHECKING:
    from cosmos_venv.processes.orphans import Session

__all__ = ["PREFIX", "descriptors_of", "note_session", "remove", "scratch_folder"]

PREFIX = "cosmos-venv"
"""What the names of all these folders begin with."""

# tempfile's names end in 8 characters: none of them looks like one of these.
_LEASE_NAME = rf"{PREFIX}(?:-[a-z-]+-)?[0-9a-f]{{16}}\.lease"
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_LONGEST_NOTE = 65_536

_held: dict[Path, int] = {}


@contextmanager
def scratch_folder(prefix: str = PREFIX) -> Iterator[Path]:
    """Make a new, empty folder of this user alone below the temporary folder; it is gone after the block.

    What killed processes left of theirs is removed first. The path is the real one, without links.

    :param prefix: what its name begins with: ``cosmos-venv``, or ``cosmos-venv-<letters>-``.
    :raises OSError: when it cannot be made.
    """
    parent = Path(os.path.realpath(tempfile.gettempdir()))
    if not _held:  # once for each piece of work: a temporary folder may hold thousands of entries
        _remove_leavings(parent)
    folder, lease = _make(parent, prefix)
    if lease is not None:
        _held[folder] = lease
    try:
        yield folder
    finally:
        _held.pop(folder, None)
        try:
            remove(folder)
        finally:
            if lease is not None:
                os.close(lease)


def descriptors_of(folder: Path) -> tuple[int, ...]:
    """Return the descriptor whose lock keeps the folder: for ``keep_open`` of a guarded command that works in it.

    :param folder: as ``scratch_folder`` gave it.
    """
    descriptor = _held.get(folder)
    return () if descriptor is None else (descriptor,)


def note_session(descriptors: Sequence[int], session: Session) -> tuple[Path, ...]:
    """Write into the leases of scratch folders which session works there.

    A process that removes a folder because nobody holds its lease first ends what is left of that session: its guard
    was killed, and what the guard should have ended lives on.

    :param descriptors: those that the leader of the session holds; other files among them are left alone.
    :param session: of the command that works in them.
    :returns: the folders.
    """
    held = {folder: descriptor for folder, descriptor in _held.items() if descriptor in descriptors}
    line = f"{session.to_json()}\n".encode()
    for descriptor in held.values():
        with suppress(OSError):  # a full disk: no reason to run no command
            os.pwrite(descriptor, line, os.fstat(descriptor).st_size)
    return tuple(held)


def remove(folder: Path) -> None:
    """Delete a folder and then its lease. What cannot be deleted stays, and its lease says so to the next one.

    :param folder: a scratch folder, or what stands in its place.
    """
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:  # rmtree would open a FIFO, and wait
        with suppress(OSError):
            folder.unlink()
    if not os.path.lexists(folder):
        _lease_path(folder).unlink(missing_ok=True)


def _lease_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lease")


def _make(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """The lease comes first: a folder of ours without one would never be found again."""
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        path = _lease_path(folder)
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
        try:
            is_held = _lock(descriptor) and is_still(descriptor, path)
        except OSError:  # a mount that knows no locks: a plain temporary folder
            os.close(descriptor)
            path.unlink(missing_ok=True)
            folder.mkdir(mode=_PRIVATE_FOLDER)
            return folder, None
        if is_held:  # else somebody who looked for leavings took it in between
            try:
                folder.mkdir(mode=_PRIVATE_FOLDER)
            except OSError:  # no room
                path.unlink(missing_ok=True)
                os.close(descriptor)
                raise
            return folder, descriptor
        os.close(descriptor)


def _remove_leavings(parent: Path) -> None:
    """Remove the folders of dead processes of this user. Never an error: they may be tried again by the next one."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for name in names:
        if re.fullmatch(_LEASE_NAME, name):
            try:
                _remove_unless_held(parent / name)
            except OSError:
                continue


def _remove_unless_held(path: Path) -> None:
    descriptor = open_own(path, os.O_RDWR)
    try:
        folder = path.with_name(path.name.removesuffix(".lease"))
        is_ours = _is_own(os.fstat(descriptor)) and _is_own_or_missing(folder)
        if is_ours and _lock(descriptor) and is_still(descriptor, path):
            from cosmos_venv.processes.orphans import Session  # for what a killed process left

            for line in os.pread(descriptor, _LONGEST_NOTE, 0).splitlines():
                if (session := Session.from_json(line)) is not None:
                    session.end_what_works_in(folder)
            remove(folder)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether nobody else holds it.

    :raises OSError: when the mount knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_own_or_missing(folder: Path) -> bool:
    try:
        return _is_own(folder.lstat())
    except FileNotFoundError:
        return True


def _is_own(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid()
