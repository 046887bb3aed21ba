"""Which files of a ``virtualenv_dir`` are its lock."""

from __future__ import annotations

LOCK_FILENAME = "cosmos_virtualenv.lock"
"""The PID of who builds, as other implementations read and write it."""
NOTE_FILENAME = f"{LOCK_FILENAME}.json"
"""Which host, boot and process that PID is of."""
KERNEL_LOCK_FILENAME = "cosmos_virtualenv.flock"
"""What is locked; it stays."""
