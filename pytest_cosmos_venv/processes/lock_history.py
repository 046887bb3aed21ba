"""Who has held a lock file, one after the other? A thread that watches it while the test goes on.

On Linux the kernel tells each taking and each release, so none is lost; of an owner that has let go before the file
could be read (well under a millisecond) the PID is unknown. Elsewhere the file is read every millisecond;
on Linux too, once the folder itself was removed or moved.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.processes.inotify import APPEARED, VANISHED, FolderEvents
from pytest_cosmos_venv.processes.lock_file import pid_in, read_text

_TURN = 0.02
_LOOK_AGAIN = 0.001


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """One holder of the lock.

    :param pid: what the file said; None when it held no number, or had gone before it could be read.
    :param text: the same as text.
    :param since: when it was seen first, in seconds since the epoch.
    :param until: when it was gone or another's; None while it is there.
    """

    pid: int | None
    text: str
    since: float
    until: float | None = None


class LockHistory:
    """The owners of a lock file, from the moment this is made.

    :param file: whose folder exists; what it holds by now is the first owner.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._owners: list[LockOwner] = []
        self._guard = threading.Lock()
        self._is_over = threading.Event()
        self._events = FolderEvents.of(file.parent, file.name)
        self._take_in(read_text(file))
        self._thread = threading.Thread(target=self._watch, name=f"watches {file.name}", daemon=True)
        self._thread.start()

    @property
    def owners(self) -> tuple[LockOwner, ...]:
        """All so far, the earliest first."""
        self.catch_up()
        return tuple(self._owners)

    def close(self) -> None:
        """Watch no longer."""
        self._is_over.set()
        self._thread.join()
        if self._events is not None:
            self._events.close()

    def _watch(self) -> None:
        while not self._is_over.is_set():
            if self._events is None or self._events.has_lost_it:
                self._is_over.wait(_LOOK_AGAIN)
            elif not self._events.wait(_TURN):
                continue
            self.catch_up()

    def catch_up(self) -> None:
        """Take in what has happened up to now."""
        with self._guard:
            if self._events is None or self._events.has_lost_it:
                self._take_in(read_text(self._file))
                return
            while True:
                for event in self._events.read():
                    self._note(event)
                text = read_text(self._file)
                # What has changed meanwhile may be what was read: it could be a later owner's word.
                if not self._events.wait(0.0):
                    self._take_in(text)
                    return

    def _note(self, event: str) -> None:
        if event in {APPEARED, VANISHED}:
            self._close()
        if event == APPEARED:
            self._owners.append(LockOwner(pid=None, text="", since=real_time.now()))

    def _take_in(self, text: str | None) -> None:
        current = self._owners[-1] if self._owners and self._owners[-1].until is None else None
        if text is None:
            self._close()
        elif current is not None and not current.text:
            self._owners[-1] = replace(current, pid=pid_in(text), text=text)
        elif current is None or text not in {"", current.text}:
            # Nothing at all is no other owner: it is truncated before it is written.
            self._close()
            self._owners.append(LockOwner(pid=pid_in(text), text=text, since=real_time.now()))

    def _close(self) -> None:
        if self._owners and self._owners[-1].until is None:
            self._owners[-1] = replace(self._owners[-1], until=real_time.now())
