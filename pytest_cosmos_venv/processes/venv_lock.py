"""The lock file ``cosmos_virtualenv.lock`` in every state that a task can find, and the history of its owners."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from dataclasses import dataclass, field
from errno import EEXIST, ENOTDIR
from pathlib import Path
from typing import Literal

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.processes.lock_history import KERNEL_LOCK_FILE, LOCK_FILE, LockHistory, LockOwner, read_owner
from pytest_cosmos_venv.processes.pids import Pids
from pytest_cosmos_venv.throwaway import remove_entry

_LOOK_AGAIN = 0.002
_LONG_AGO = 300.0


@dataclass
class VenvLock:
    """The lock file of one ``virtualenv_dir``. Every method that changes it writes the file anew in one step.

    :param directory: the ``virtualenv_dir``; made when missing.
    """

    directory: Path
    _pids: Pids
    _timers: list[threading.Timer] = field(default_factory=list)
    _kernel_lock: int | None = None

    def __post_init__(self) -> None:
        _make_directory(self.directory)
        self._history = LockHistory(self.file)

    @property
    def file(self) -> Path:
        """The path of the lock file."""
        return self.directory / LOCK_FILE

    @property
    def owner(self) -> int | None:
        """The PID in the file; None when there is no file, or no number in it."""
        return read_owner(self.file)

    @property
    def history(self) -> tuple[LockOwner, ...]:
        """All owners since this object was made, whoever wrote the file; the earliest first.

        On Linux no owner is missing. The PID of an owner that held the lock for less than a millisecond may be None.
        On other systems, and once the directory itself was removed or moved, the file is read every millisecond.
        """
        return self._history.owners

    def held_by(self, pid: int, *, age: float = 0.0) -> None:
        """Let a process hold the lock.

        :param pid: the PID, such as one of ``cosmos_lock.pids``.
        :param age: seconds since the file was written.
        """
        self._write(str(pid), age)

    def stale(self, *, age: float = _LONG_AGO) -> int:
        """Let a dead process hold the lock; returns its PID, which no process gets during the test.

        :param age: seconds since the file was written.
        """
        pid = self._pids.dead()
        self._write(str(pid), age)
        return pid

    def empty(self, *, age: float = _LONG_AGO) -> None:
        """Leave the file empty: its owner truncated the file and died before writing.

        :param age: seconds since the file was written.
        """
        self._write("", age)

    def garbage(self, text: str = "not a process", *, age: float = _LONG_AGO) -> None:
        """Write a text that is no PID into the file.

        :param text: what the file is to hold.
        :param age: seconds since the file was written.
        """
        self._write(text, age)

    def other_host(self) -> int:
        """Let a process of another host hold the lock; returns its PID, which no process has here.

        The kernel lock of cosmos-venv is held too, as on a file system that shares kernel locks among hosts. An
        implementation that only looks at processes of this host sees the same as after ``stale(age=0)``.
        """
        # A dead PID: an implementation that only looks at processes of this host takes the lock for stale.
        pid = self._pids.dead()
        if self._kernel_lock is None:
            self._kernel_lock = os.open(self.directory / KERNEL_LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._kernel_lock, fcntl.LOCK_EX)
        _publish(self.file, str(pid), 0.0)
        self._history.catch_up()
        return pid

    def unreadable(self, how: Literal["directory", "dangling-link"] = "directory") -> None:
        """Put a directory or a dangling link in the place of the file, so that not even root can read the file.

        :param how: ``directory``: a directory in its place; ``dangling-link``: a link to nothing.
        :raises ToolkitMisuse: another word was given.
        """
        self.release()
        if how == "directory":
            self.file.mkdir()
        elif how == "dangling-link":
            self.file.symlink_to(self.directory / "nowhere" / LOCK_FILE)
        else:
            raise ToolkitMisuse(f"unreadable({how!r}): say 'directory' or 'dangling-link'.")

    def release(self) -> None:
        """Free the lock: the lock file is removed."""
        remove_entry(self.file)
        self._unlock()
        self._history.catch_up()

    def release_after(self, seconds: float) -> None:
        """Free the lock later, while the test waits in the code under test.

        :param seconds: seconds from now.
        """
        timer = threading.Timer(seconds, self.release)
        timer.daemon = True  # a test that has failed does not wait for it
        self._timers.append(timer)
        timer.start()

    def close(self) -> None:
        """Stop the timers and the watching. The files in the directory stay."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self._unlock()
        self._history.close()

    def _unlock(self) -> None:
        descriptor, self._kernel_lock = self._kernel_lock, None
        if descriptor is not None:
            # Closing alone is not enough: posix_spawn returns before the new process has closed its copy of the
            # descriptor, and a copy keeps the lock. A test failed for this reason.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _write(self, text: str, age: float) -> None:
        if self.file.is_dir():
            self.release()
        self._unlock()
        _publish(self.file, text, age)
        self._history.catch_up()


@dataclass
class CosmosLock:
    """Gives the lock of a directory: ``cosmos_lock(virtualenv_dir)``.

    :param pids: the processes that a lock may name.
    """

    pids: Pids
    _locks: dict[Path, VenvLock] = field(default_factory=dict)

    def __call__(self, virtualenv_dir: Path | str) -> VenvLock:
        """The lock of a directory, watched from now on; the same object each time.

        :param virtualenv_dir: made when missing.
        :raises ToolkitMisuse: the path is no directory, and none can be made there.
        """
        directory = Path(virtualenv_dir)
        if directory not in self._locks:
            self._locks[directory] = VenvLock(directory, self.pids)
        return self._locks[directory]

    def close(self) -> None:
        """Stop watching all of them."""
        for lock in self._locks.values():
            lock.close()


def _make_directory(directory: Path) -> None:
    said = f"cosmos_lock({str(directory)!r})"
    if directory.name == LOCK_FILE:
        raise ToolkitMisuse(f"{said}: give the directory in which this file lies, which is the virtualenv_dir.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{error.filename} is no directory" if error.errno in {EEXIST, ENOTDIR} else str(error)
        raise ToolkitMisuse(f"{said}: {what}; give the virtualenv_dir, a directory, which may be missing.") from None


def _publish(file: Path, text: str, age: float) -> None:
    # Written to a draft and renamed: no reader sees a partial text, or the modification time before os.utime.
    draft = file.with_name(f".{file.name}.{os.getpid()}.draft")
    draft.write_text(text, encoding="utf-8")
    written_at = time.time() - age
    os.utime(draft, (written_at, written_at))
    draft.replace(file)
