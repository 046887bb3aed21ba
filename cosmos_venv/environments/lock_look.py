"""What stands in a directory's lock file at this moment, and which file is that?"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cosmos_venv.environments.lock_record import LockNote, LockRecord
from cosmos_venv.own_files import open_own, read_own

Identity = tuple[int, int]
"""Device and inode: which file it is, whatever its name."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A lock file as one look saw it, and which file that was."""

    record: LockRecord
    identity: Identity


def look_at(file: Path, note_file: Path) -> Found | None:
    """None when there is no lock file.

    :raises OddFile: when it is no plain file, so that it binds nobody.
    :raises OSError: when it cannot be read.
    """
    try:
        with open(open_own(file, os.O_RDONLY), "rb") as opened:  # noqa: PTH123 - of a descriptor
            status = os.fstat(opened.fileno())
            text = opened.read(64).decode("ascii", errors="replace")
    except FileNotFoundError:
        return None
    record = LockRecord(text=text, age=time.time() - status.st_mtime, written_at=status.st_mtime)
    note_text = text_of_note(note_file)
    note = None if note_text is None else LockNote.from_json(note_text)
    if note is not None and note.pid == record.pid:
        record = replace(record, note=note)
    return Found(record=record, identity=identity_of(status))


def text_of_note(note_file: Path) -> str | None:
    """None when there is none that can be read."""
    try:
        return read_own(note_file).decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None


def identity_of(status: os.stat_result) -> Identity:
    """Which file a status is of."""
    return status.st_dev, status.st_ino
