"""The lock of one ``virtualenv_dir``: a kernel lock between our own processes, and a PID file for everybody.

- The kernel lock decides, and dies with its process. ``cosmos_virtualenv.lock`` holds the owner's PID as decimal text,
  as other implementations read and write it: theirs is honoured while its process lives, ours is seen by them.
- A lock belongs to a descriptor: a second descriptor of the same process would wait for the first. So a thread that
  holds the lock and asks again goes on under the lock that it has (``held_here``).
- The lock of a living owner is never taken, and only the owner removes its record.
- The record is put in place by ``link`` of a finished file: a rename could destroy a foreign record that has just
  appeared.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.environments.layout import KERNEL_LOCK_FILENAME, LOCK_FILENAME, NOTE_FILENAME
from cosmos_venv.environments.lock_record import (
    Found,
    Identity,
    LockNote,
    Machine,
    ProcessState,
    identity_of,
    look_at,
    staleness,
    text_of_note,
)
from cosmos_venv.exceptions import VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.files.durable_files import OddFile, in_one_step, make_way, write_new
from cosmos_venv.files.filesystem_check import UNSUPPORTED, unfit_message, why_unfit
from cosmos_venv.files.kernel_lock import FileToLock, flock_at_once, open_to_ask, unlock
from cosmos_venv.processes.cancellation import Cancellation

_holders: dict[tuple[int, int], _Holder] = {}
# A setting of Cosmos counts tries (virtualenv_max_retries_lock), one a second.
TRY_SECONDS = 1.0
_TURN = 0.01  # a waiter wakes at most two turns after a release
_RENEW_AFTER = 10.0


@dataclass(frozen=True)
class _Holder:
    lock: VirtualenvLock
    pid: int  # a child that was forked knows of it, and does not hold it
    thread: int


def held_here(descriptor: int) -> VirtualenvLock | None:
    """Return the lock through which this thread holds a file already; None when it does not.

    :param descriptor: any descriptor of the file.
    """
    holder = _holders.get(_file_of(descriptor))
    if holder is None or (holder.pid, holder.thread) != (os.getpid(), threading.get_ident()):
        return None
    return holder.lock


@contextmanager
def holding(descriptor: int, lock: VirtualenvLock) -> Iterator[None]:
    """Let ``held_here`` give the lock to this thread within the block. The kernel lets one thread in at a time.

    :param descriptor: of the file that is locked.
    :param lock: the object that has locked it.
    """
    file = _file_of(descriptor)
    _holders[file] = _Holder(lock, os.getpid(), threading.get_ident())
    try:
        yield
    finally:
        del _holders[file]


def _file_of(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def lock_timeout_message(lock_file: Path, *, owner: str, waited: float) -> str:
    """Return the error for a user whose task may not wait any longer.

    :param lock_file: the PID file.
    :param owner: who holds the lock, as a noun.
    :param waited: seconds.
    """
    return (
        f"{lock_file} is still held by {owner} after {waited:.0f} s. "
        "Raise [cosmos] virtualenv_max_retries_lock, or give this project a virtualenv_dir of its own."
    )


class LockWait:
    """A wait for a lock in tries, one per elapsed second in which the owner makes no progress.

    :param lock: the lock that is waited for.
    :param max_tries: number of tries, after which the wait fails.
    :param cancellation: ends the wait.
    :param report: gets a line for each try, with the owner.
    """

    def __init__(
        self, lock: VirtualenvLock, *, max_tries: int, cancellation: Cancellation, report: Callable[[str], None]
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
        """Return when a condition holds, which is asked every 10 ms.

        :param is_done: the condition; most often it takes the lock.
        :raises VirtualenvLockTimeout: when all tries are over.
        :raises CommandKilled: when the cancellation was requested.
        """
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


class VirtualenvLock:
    """The lock of one ``virtualenv_dir``.

    :param directory: an existing directory.
    :param progress: gives any value that changes while the owner's build gets on; tries do not count then.
    """

    def __init__(self, directory: Path, *, progress: Callable[[], object] = lambda: None) -> None:
        self.file = directory / LOCK_FILENAME
        self.note_file = directory / NOTE_FILENAME
        self.kernel_file = directory / KERNEL_LOCK_FILENAME
        self._progress = progress
        self._linked: Identity | None = None
        self._renewed_at = 0.0

    @contextmanager
    def acquire(self, *, max_tries: int, cancellation: Cancellation, report: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock within this block: nobody else builds in the directory.

        A thread that holds the lock already goes on at once, and keeps it until its outer block ends.

        :param max_tries: seconds to wait while the owner makes no progress; each is reported, with the owner.
        :param cancellation: ends the wait.
        :param report: gets lines for the task's log.
        :raises VirtualenvLockTimeout: when the tries are over. The owner keeps the lock.
        :raises VirtualenvError: when the file system has no kernel locks or no hard links.
        :raises CommandKilled: when ``cancellation`` was requested while waiting.
        """
        waiting = LockWait(self, max_tries=max_tries, cancellation=cancellation, report=report)
        # The kernel lock first: only its holder may judge a record, or two waiters could both remove it and both go on.
        with self._kernel_locked(waiting) as outer:
            # A subclass of an operator may have taken the lock (_acquire_venv_lock) before the operator builds: it
            # waited for itself.
            if outer is not None and outer._has_record():
                with self._sharing_record(outer):
                    yield
                return
            try:
                waiting.until(lambda: self._try_record(report))
                report(f"Acquiring lock at {self.file} with pid {os.getpid()}")
                yield
            finally:
                self._release(report)

    @contextmanager
    def _kernel_locked(self, waiting: LockWait) -> Iterator[VirtualenvLock | None]:
        """Hold the kernel lock within this block; gives the lock through which this thread held it before, if any."""
        file = FileToLock(self.kernel_file, lock=self._try_kernel_lock)
        outer = held_here(file.descriptor)
        try:
            if outer is not None:
                yield outer
                return
            waiting.until(file.try_lock)
            with holding(file.descriptor, self):
                yield None
        finally:
            # An outer block of this thread holds the lock by a descriptor of its own, and gives it back itself.
            if outer is None:
                unlock(file.descriptor)
            file.close()

    @contextmanager
    def _sharing_record(self, outer: VirtualenvLock) -> Iterator[None]:
        self._linked = outer._linked
        try:
            yield
        finally:
            self._linked = None

    def is_available(self, *, report: Callable[[str], None]) -> bool:
        """Return whether nobody holds the lock now who must be respected. Nothing is taken, made or removed.

        :param report: gets one line on the owner, where there is a record.
        """
        found = self._look()
        is_locked = self._is_kernel_locked()
        if found is None:
            return not is_locked
        reason = self._why_outdated(found, is_kernel_lock_ours=not is_locked)
        if reason is None:
            report(f"{self.owner()} has the lock {self.file}.")
            return False
        report(self._outdated_message(reason))
        return not is_locked

    def renew(self) -> None:
        """Show that we are still at work, at most every 10 s: on other hosts only this shows that we live.

        Nothing happens unless the lock is held here.
        """
        now = time.monotonic()
        if self._linked is None or now - self._renewed_at < _RENEW_AFTER:
            return
        self._renewed_at = now
        try:
            if self._has_record():
                os.utime(self.file)
                os.utime(self.note_file)
        except OSError:
            pass  # no reason to end the build; the release tells what became of the record

    def owner(self) -> str:
        """Return the owner that the PID record names, in words for a log."""
        found = self._look()
        if found is None or found.record.pid is None:
            return "another process"
        note = found.record.note
        if note is not None and not Machine.here().shares_pids_with(note):
            return f"process {note.pid} on {note.host}"
        process = ProcessState.of(found.record.pid)
        return f"process {found.record.pid}" + (f" ({process.name})" if process else "")

    def progress(self) -> object:
        """Return a value that differs from the last one when the owner's build got on."""
        return self._progress()

    def _try_kernel_lock(self, descriptor: int) -> bool:
        try:
            return flock_at_once(descriptor)
        except OSError as error:
            if error.errno == errno.EACCES:  # as some mounts say that another one has it
                return False
            if error.errno in UNSUPPORTED:
                raise self._unfit("kernel locks (flock)", error) from error
            raise

    def _try_record(self, report: Callable[[str], None]) -> bool:
        """Put our PID into the lock file, unless it names an owner to respect."""
        for file in (self.file, self.note_file):
            make_way(file)
        found = self._look()
        if found is not None:
            reason = self._why_outdated(found, is_kernel_lock_ours=True)
            if reason is None:
                return False
            report(self._outdated_message(reason))
            self._remove(found.identity)
        return self._link_record()

    def _why_outdated(self, found: Found, *, is_kernel_lock_ours: bool) -> str | None:
        process = None if found.record.pid is None else ProcessState.of(found.record.pid)
        return staleness(
            found.record,
            process=process,
            here=Machine.here(),
            own_pid=os.getpid(),
            locked_device=self._device() if is_kernel_lock_ours else None,
        )

    def _device(self) -> int:
        return self.file.parent.stat().st_dev

    def _outdated_message(self, reason: str) -> str:
        return f"{reason[0].upper()}{reason[1:]}. Lock {self.file} was outdated."

    def _is_kernel_locked(self) -> bool:
        try:
            descriptor = open_to_ask(self.kernel_file)
        except (FileNotFoundError, PermissionError, OddFile):
            return False  # another user's: the record alone can tell
        try:
            return not self._try_kernel_lock(descriptor)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return False  # NFS, and a file that others may write: the record alone can tell
        finally:
            os.close(descriptor)

    def _look(self) -> Found | None:
        try:
            return look_at(self.file, self.note_file)
        except OddFile:
            return None

    def _has_record(self) -> bool:
        """Return whether the record that we linked still stands."""
        found = self._look()
        # The process id alone says nothing: on another host an equal number is another process. Nor does the file
        # alone: what is made after ours was deleted may get its inode.
        return found is not None and found.identity == self._linked and found.record.pid == os.getpid()

    def _link_record(self) -> bool:
        """Return whether our finished record stands under its name now; one that has just appeared is left alone."""
        note_of_another = text_of_note(self.note_file)
        record = self._written_apart(str(os.getpid()))
        try:
            note = LockNote.of_this_process(device=self._device())
            self._write_note(note.to_json())
            # Before linking: an error that a signal handler raises just after it must still find what to release.
            self._linked = identity_of(record.stat())
            self._renewed_at = time.monotonic()
            os.link(record, self.file)
        except FileExistsError:
            self._linked = None
            if note_of_another is not None:
                self._write_note(note_of_another)
            return False
        except OSError as error:
            self._linked = None
            if note_of_another is None:
                self.note_file.unlink(missing_ok=True)
            if error.errno in UNSUPPORTED:
                raise self._unfit("hard links", error) from error
            raise
        finally:
            record.unlink()
        return True

    def _write_note(self, text: str) -> None:
        with in_one_step(self.note_file) as apart:
            write_new(apart, text)

    def _written_apart(self, text: str) -> Path:
        path = self.file.with_name(f".{LOCK_FILENAME}.{uuid.uuid4().hex}")
        write_new(path, text)
        return path

    def _remove(self, identity: Identity) -> None:
        """Remove exactly the file that was looked at: one that took its place meanwhile is put back."""
        aside = self.file.with_name(f".{LOCK_FILENAME}.{uuid.uuid4().hex}")
        try:
            self.file.rename(aside)
        except FileNotFoundError:
            return
        if identity_of(aside.stat()) != identity:
            try:
                os.link(aside, self.file)
            except FileExistsError:
                pass  # a third one was quicker; the next turn looks at it
        aside.unlink()

    def _release(self, report: Callable[[str], None]) -> None:
        """Remove the record that we linked, and no other. Never hides the error that ends the block."""
        linked = self._linked
        if linked is None:
            return
        report("Releasing virtualenv lock")
        try:
            if self._has_record():
                self.note_file.unlink(missing_ok=True)
                self._remove(linked)
            else:
                report(self._lost_message(self._look()))
        except OSError as error:
            report(f"The lock {self.file} cannot be removed ({error}); it counts as outdated once this process ends.")
        finally:
            self._linked = None

    def _lost_message(self, found: Found | None) -> str:
        if found is None:
            return f"Lockfile {self.file} not found, perhaps deleted by other concurrent operator?"
        return (
            f"Lockfile {self.file} owned by process of pid {found.record.text!r}, "
            f"while operator has pid {os.getpid()}. It is left alone."
        )

    def _unfit(self, what: str, error: OSError) -> VirtualenvError:
        fault = why_unfit(what, error, is_noexec=False)
        return VirtualenvError(unfit_message(self.file.parent, fault))
