"""What stands in ``cosmos_virtualenv.lock``? The PID of its owner, as text."""

from __future__ import annotations

from pathlib import Path

LOCK_FILE = "cosmos_virtualenv.lock"
NOTE_FILE = "cosmos_virtualenv.lock.json"
"""Says of which host the PID is. Written by cosmos-venv; Cosmos knows no such thing."""


def read_text(file: Path) -> str | None:
    """None when there is no file, or none that can be read."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def pid_in(text: str | None) -> int | None:
    """None when the text is no number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def read_owner(file: Path) -> int | None:
    """The PID in a lock file; None when there is no file, or no number in it."""
    return pid_in(read_text(file))
