"""How does one wait for the lock of a ``virtualenv_dir``? In tries of a second, and for no longer than was said."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cosmos_venv.exceptions import VirtualenvLockTimeout
from cosmos_venv.guarded import Cancellation

TRY_SECONDS = 1.0
_TURN = 0.01  # a waiter wakes at most two turns after a release


def lock_timeout_message(lock_file: Path, *, owner: str, waited: float) -> str:
    """What a user reads when the waiting is over."""
    return (
        f"{lock_file} is still held by {owner} after {waited:.0f} s. "
        "Raise [cosmos] virtualenv_max_retries_lock, or give this project a virtualenv_dir of its own."
    )


class AwaitedLock(Protocol):
    """What is waited for."""

    file: Path

    def owner(self) -> str: ...

    def progress(self) -> object: ...


class LockWait:
    """Counts tries, one per elapsed second without progress, and says whom it waits for."""

    def __init__(
        self, lock: AwaitedLock, *, max_tries: int, cancellation: Cancellation, report: Callable[[str], None]
    ) -> None:
        self._lock = lock
        self._max_tries = max_tries
        self._cancellation = cancellation
        self._report = report
        self._tries = 0
        self._began = time.monotonic()
        self._next_try = self._began + TRY_SECONDS
        self._seen = lock.progress()

    def until(self, is_done: Callable[[], bool]) -> None:
        while True:
            self._cancellation.raise_if_requested()
            if is_done():
                return
            self._count()
            time.sleep(_TURN)

    def _count(self) -> None:
        now = time.monotonic()
        if self._tries >= self._max_tries:
            raise VirtualenvLockTimeout(
                lock_timeout_message(self._lock.file, owner=self._lock.owner(), waited=now - self._began)
            )
        if now < self._next_try:
            return
        self._next_try += TRY_SECONDS
        seen = self._lock.progress()
        if seen != self._seen:
            self._seen = seen
            self._report(f"{self._lock.owner()} is building in {self._lock.file.parent}; its build gets on.")
            return
        self._tries += 1
        self._report(
            f"Waiting for virtualenv lock to be released: try {self._tries} of {self._max_tries}, "
            f"{self._lock.file} is held by {self._lock.owner()}."
        )
