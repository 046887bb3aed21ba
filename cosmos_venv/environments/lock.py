"""The lock of one ``virtualenv_dir``: a kernel lock between our own processes, and a PID file that others read too.

- The kernel releases a lock when its process ends, so no lock is left behind. ``cosmos_virtualenv.lock`` holds the PID
  of the owner as decimal text, as other implementations read and write it. They see our owner, and we wait for theirs.
- The owner of the kernel lock judges the PID file. A record that cosmos-venv wrote is stale in this case: a living
  writer would still have the kernel lock. The kernel lock file says which record is ours. The PID cannot say this: two
  containers may both have a process 7.
- A record is published by ``link`` of a finished file. It is removed by a rename, after which the file is read again.
  Neither step destroys a record that another implementation has written in the meantime.
- The lock is reentrant: a thread that holds it and acquires it again goes on at once.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.exceptions import VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.files.kernel_lock import UNSUPPORTED, FileToLock, flock_at_once, try_lock_if_supported
from cosmos_venv.files.own_files import open_own, unfit, write_new
from cosmos_venv.processes.cancellation import Cancellation

LOCK_FILENAME = "cosmos_virtualenv.lock"
"""File with the PID of the builder, in the format of other implementations."""
KERNEL_LOCK_FILENAME = "cosmos_virtualenv.flock"
"""File that the kernel lock is taken on; it is never removed."""
TRY_SECONDS = 1.0
"""Cosmos's setting virtualenv_max_retries_lock counts tries, one a second."""
_TURN = 0.01  # a waiter takes the lock at most two turns after its release
# Another implementation truncates the file before it writes its PID.
_UNFINISHED_GRACE = 0.5
# psutil tells the start of a process up to a second too early, and some file systems keep times in full seconds.
_CLOCK_SLACK = 1.0
_LONGEST_RECORD = 64

_holders: dict[tuple[int, int], tuple[int, int]] = {}
"""Device and inode of a locked file -> PID and thread of its holder. A forked child has the entries too."""
_ANY_THREAD = 0


@dataclass(frozen=True, kw_only=True)
class LockRecord:
    """The content of a PID file, and which file it was.

    :param text: its text, 64 bytes at most.
    :param file: device and inode.
    :param written_ns: the time of its last change, in nanoseconds since the epoch.
    """

    text: str
    file: tuple[int, int]
    written_ns: int

    @classmethod
    def read(cls, path: Path) -> LockRecord | None:
        """Read a PID file.

        :param path: of the file.
        :returns: None where there is no file.
        :raises OSError: when the file cannot be read, or is no plain file.
        """
        try:
            with open(open_own(path, os.O_RDONLY), "rb") as opened:  # noqa: PTH123 - of a descriptor
                text = opened.read(_LONGEST_RECORD).decode("ascii", errors="replace").strip()
                status = os.fstat(opened.fileno())
        except FileNotFoundError:
            return None
        return cls.of(text, status)

    @classmethod
    def of(cls, text: object, status: os.stat_result) -> LockRecord:
        """Make a record.

        :param text: the content of the file.
        :param status: of the file.
        """
        return cls(text=str(text), file=(status.st_dev, status.st_ino), written_ns=status.st_mtime_ns)

    @property
    def pid(self) -> int | None:
        """The PID; None where the text is no number that a kernel gives to a process."""
        return int(self.text) if self.text.isascii() and self.text.isdigit() and len(self.text) < 10 else None

    @property
    def mark(self) -> str:
        """The words in the kernel lock file by which this record is known as ours."""
        return f"{self.text} {self.written_ns}"

    def why_stale(self, *, last_of_ours: str) -> str | None:
        """Return why this record is stale; the caller holds the kernel lock.

        :param last_of_ours: the mark of the last record that cosmos-venv has put in place.
        :returns: a clause; None where the owner may live.
        """
        if self.mark == last_of_ours:
            return f"process {self.text}, which wrote it, no longer holds the kernel lock"
        written_at = self.written_ns / 1e9
        if self.pid is None:
            return None if 0 <= time.time() - written_at < _UNFINISHED_GRACE else "it holds no process id"
        if self.pid == os.getpid():
            return "it was left by an earlier process with our own id"
        import psutil  # imported here: mostly there is no record

        try:
            process = psutil.Process(self.pid)
            if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
                return f"process {self.pid} has ended"
            if process.create_time() > written_at + _CLOCK_SLACK:
                return f"process {self.pid} started after it was written"
        except psutil.NoSuchProcess:
            return None if _is_hidden(self.pid) else f"process {self.pid} is not running"
        except psutil.AccessDenied:
            pass
        return None


class VirtualenvLock:
    """The lock of one ``virtualenv_dir``.

    :param directory: an existing directory.
    :param progress: returns a value that changes while the owner's build makes progress. A second with progress is not
        counted as a try.
    """

    def __init__(self, directory: Path, *, progress: Callable[[], object] = lambda: None) -> None:
        self.file = directory / LOCK_FILENAME
        self.kernel_file = directory / KERNEL_LOCK_FILENAME
        self.progress = progress
        self._own: LockRecord | None = None

    @contextmanager
    def acquire(
        self,
        *,
        max_tries: int,
        cancellation: Cancellation,
        report: Callable[[str], None],
        for_all_threads: bool = False,
    ) -> Iterator[bool]:
        """Hold the lock within this block: nobody else builds in the directory.

        A thread that holds the lock already goes on at once, and keeps it until its outer block ends.

        :param max_tries: seconds to wait while the owner makes no progress; each is reported, with the owner.
        :param cancellation: ends the wait.
        :param report: gets lines for the task's log.
        :param for_all_threads: whether the lock counts as held by all threads of this process while the block runs.
        :returns: whether this block has taken the lock; False where an outer block holds it.
        :raises VirtualenvLockTimeout: when the tries are over. The owner keeps the lock.
        :raises VirtualenvError: when the file system has no kernel locks or no hard links.
        :raises CommandKilled: when ``cancellation`` was requested while waiting.
        """
        cancellation.raise_if_requested()
        turns = self.turns(max_tries=max_tries, cancellation=cancellation, report=report)
        # An outer block of this thread has its own descriptor: closing this one leaves the outer block's lock.
        with closing(FileToLock(self.kernel_file, lock=self._try_kernel_lock)) as file:
            # A subclass of an operator may have taken the lock (_acquire_venv_lock) before the operator builds. Without
            # this check the operator would wait for its own lock.
            if _is_held_here(file.descriptor):
                yield False
                return
            while not file.try_lock():
                next(turns)
            locked = _file_of(file.descriptor)
            _holders[locked] = os.getpid(), _ANY_THREAD if for_all_threads else threading.get_ident()
            try:
                while not self._try_record(file.descriptor, report):
                    next(turns)
                report(f"Acquiring lock at {self.file} with pid {os.getpid()}")
                yield True
            finally:
                del _holders[locked]
                self._release(report)

    def turns(self, *, max_tries: int, cancellation: Cancellation, report: Callable[[str], None]) -> Iterator[None]:
        """Wait for the lock: each turn takes 10 ms, and a try is a second in which the owner makes no progress.

        :param max_tries: as for ``acquire``.
        :param cancellation: as for ``acquire``.
        :param report: as for ``acquire``.
        :raises VirtualenvLockTimeout: as for ``acquire``.
        :raises CommandKilled: as for ``acquire``.
        """
        began = time.monotonic()
        next_try, tries, seen = began + TRY_SECONDS, 0, self.progress()
        while True:
            cancellation.raise_if_requested()
            now = time.monotonic()
            if tries >= max_tries:
                raise VirtualenvLockTimeout(
                    f"{self.file} is still held by {self.owner()} after {now - began:.0f} s. "
                    "Raise [cosmos] virtualenv_max_retries_lock, or give this project a virtualenv_dir of its own."
                )
            if now >= next_try:
                next_try += TRY_SECONDS
                before, seen = seen, self.progress()
                if seen != before:
                    report(f"{self.owner()} is building in {self.file.parent}; its build gets on.")
                else:
                    tries += 1
                    report(
                        f"Waiting for virtualenv lock to be released: try {tries} of {max_tries}, "
                        f"{self.file} is held by {self.owner()}."
                    )
            time.sleep(_TURN)
            yield

    def is_available(self, *, report: Callable[[str], None]) -> bool:
        """Return whether the lock is free, or its record is stale. No file is made, changed or removed.

        :param report: gets one line on the owner, where there is a record.
        """
        found = LockRecord.read(self.file)
        if found is None:
            return True
        last_of_ours = self._last_of_ours()
        reason = None if last_of_ours is None else found.why_stale(last_of_ours=last_of_ours)
        if reason is None:
            report(f"{self.owner()} has the lock {self.file}.")
            return False
        report(self._outdated_message(reason))
        return True

    def _last_of_ours(self) -> str | None:
        """The mark of the last record that cosmos-venv has put in place; None while a process has the kernel lock."""
        try:
            with closing(FileToLock(self.kernel_file, make=False)) as file:
                return _mark_in(file.descriptor) if try_lock_if_supported(file.descriptor) else None
        except OSError:
            return ""

    def owner(self) -> str:
        """Return the owner that the PID record names, in words for a log."""
        found = LockRecord.read(self.file)
        if found is None or found.pid is None:
            return "another process"
        import psutil

        try:
            return f"process {found.pid} ({psutil.Process(found.pid).name()})"
        except psutil.Error:
            return f"process {found.pid}"  # in another container or on another host

    def _try_kernel_lock(self, descriptor: int) -> bool:
        try:
            return flock_at_once(descriptor)
        except OSError as error:
            if error.errno == errno.EACCES:  # some mounts say so while another process has the lock
                return False
            if error.errno in UNSUPPORTED:
                raise self._unfit("kernel locks (flock)", error) from error
            raise

    def _try_record(self, descriptor: int, report: Callable[[str], None]) -> bool:
        """Put our PID into the lock file, unless the file names an owner to respect."""
        found = LockRecord.read(self.file)
        if found is not None:
            reason = found.why_stale(last_of_ours=_mark_in(descriptor))
            if reason is None:
                return False
            report(self._outdated_message(reason))
            if not self._remove(found):
                return False
        return self._link_record(descriptor)

    def _link_record(self, descriptor: int) -> bool:
        """Return whether our record stands under its name now; a record that has just appeared is left alone."""
        finished = self._name_apart()
        write_new(finished, str(os.getpid()))
        try:
            # Set before the link: when a signal handler raises just after the link, _release must know the record.
            self._own = record = LockRecord.of(os.getpid(), finished.stat())
            with suppress(OSError):  # another user's file, open for reading: the PID alone is judged then
                os.pwrite(descriptor, record.mark.ljust(_LONGEST_RECORD).encode("ascii"), 0)
            os.link(finished, self.file)
        except OSError as error:
            self._own = None
            if isinstance(error, FileExistsError):
                return False
            if error.errno in UNSUPPORTED:
                raise self._unfit("hard links", error) from error
            raise
        finally:
            finished.unlink(missing_ok=True)  # a sweep on another host may have removed it
        return True

    def _remove(self, judged: LockRecord) -> bool:
        """Remove the record that was judged. Put back a record that has replaced it or was written over it.

        Another implementation writes its PID into the file that it finds, and truncates the file first: the inode alone
        does not tell two records apart.

        :returns: whether the judged record is gone.
        """
        aside = self._name_apart()
        try:
            self.file.rename(aside)
        except FileNotFoundError:
            return True
        is_judged = LockRecord.read(aside) == judged
        if not is_judged:
            with suppress(FileExistsError):  # a third record was quicker; the next turn judges it
                os.link(aside, self.file)
        aside.unlink(missing_ok=True)
        return is_judged

    def _release(self, report: Callable[[str], None]) -> None:
        """Remove our record, and no other. Never hides the error that ends the block."""
        own, self._own = self._own, None
        if own is None:
            return
        report("Releasing virtualenv lock")
        try:
            found = LockRecord.read(self.file)
            if found == own:
                self._remove(own)
            else:
                whose = "is gone" if found is None else f"belongs to process {found.text!r}"
                report(
                    f"The lock {self.file} {whose}, and no longer belongs to process {os.getpid()}. It is left alone."
                )
        except OSError as error:
            report(f"The lock {self.file} cannot be removed ({error}); it counts as outdated once this process ends.")

    def _name_apart(self) -> Path:
        return self.file.with_name(f".{LOCK_FILENAME}.{os.urandom(16).hex()}")

    def _outdated_message(self, reason: str) -> str:
        return f"{reason[0].upper()}{reason[1:]}. Lock {self.file} was outdated."

    def _unfit(self, what: str, error: OSError) -> VirtualenvError:
        return unfit(self.file.parent, f"does not support {what} ({error.strerror})")


def _is_hidden(pid: int) -> bool:
    """Return whether a living process of another user is hidden by /proc (the mount option ``hidepid``)."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _mark_in(descriptor: int) -> str:
    return os.pread(descriptor, _LONGEST_RECORD, 0).decode("ascii", errors="replace").rstrip()


def _is_held_here(descriptor: int) -> bool:
    """Return whether this thread holds the lock of a file by another descriptor.

    A lock belongs to its descriptor: a second descriptor of the same process would wait for the first one.
    """
    pid, thread = _holders.get(_file_of(descriptor), (0, 0))
    return pid == os.getpid() and thread in (threading.get_ident(), _ANY_THREAD)


def _file_of(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
