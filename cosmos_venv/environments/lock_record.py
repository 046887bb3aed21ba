"""The record of a lock's owner, and the decision whether that owner must be respected.

The lock file holds a PID. The note beside it says which machine, boot and process that PID is of, and counts only when
it names the same PID. A record of another host or container is never judged by the processes of this one.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from cosmos_venv.files.durable_files import open_own
from cosmos_venv.files.untrusted import content_of, value_of
from cosmos_venv.processes.orphans import start_ticks

# Some file systems keep times of files in full seconds, and a kernel tells its own start in them.
CLOCK_SLACK = 1.0
# Others are as exact as the kernel's ticks, which start times of processes count: a hundredth of a second.
TICK_SLACK = 0.05
# Other implementations truncate the file before they write their PID into it.
UNFINISHED_GRACE = 0.5
# Nothing else is to be known of a process on another host: its record is renewed every 10 s while its installer runs.
# Where a mount shares no kernel locks between hosts (else those decide), one that is stopped for longer than this is
# taken for dead, and another host may build, too: its task fails or builds anew.
FOREIGN_HOST_AGE = 60.0

Identity = tuple[int, int]
"""Device and inode: which file it is, whatever its name."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The facts that must be equal for a PID to mean the same process.

    :param host: name of the host.
    :param boot_id: identifier that the kernel makes at each start; empty off Linux.
    :param pid_namespace: identifier of the PID namespace (a container has its own); empty off Linux.
    :param booted_at: seconds since the epoch at which the machine started.
    """

    host: str
    boot_id: str
    pid_namespace: str
    booted_at: float

    @classmethod
    def here(cls) -> Machine:
        """Return the facts of this process. They are looked up once."""
        return _here()

    def shares_pids_with(self, note: LockNote) -> bool:
        """Return whether the PID in a note is a process of this machine and container.

        :param note: the note of a lock's owner.
        """
        return (self.host, self.pid_namespace) == (note.host, note.pid_namespace)


@dataclass(frozen=True, kw_only=True)
class LockNote:
    """The content of ``cosmos_virtualenv.lock.json``, which this implementation writes beside its PID.

    :param pid: of the owner; the note counts only beside a lock file with the same PID.
    :param host: name of the owner's host.
    :param boot_id: as in ``Machine``.
    :param pid_namespace: as in ``Machine``.
    :param process_start_ticks: when the owner started, as its kernel counts (see ``ProcessState``); None: unknown.
    :param device: of the directory, as the owner's kernel numbers it; None: unknown.
    """

    pid: int
    host: str
    boot_id: str
    pid_namespace: str
    process_start_ticks: int | None = None
    device: int | None = None

    @classmethod
    def of_this_process(cls, *, device: int | None = None) -> LockNote:
        """Return the note of this process.

        :param device: of the directory that is locked, as ``stat`` numbers it.
        """
        machine = Machine.here()
        return cls(
            pid=os.getpid(),
            host=machine.host,
            boot_id=machine.boot_id,
            pid_namespace=machine.pid_namespace,
            process_start_ticks=start_ticks(os.getpid()),
            device=device,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> LockNote | None:
        """Return what this release knows of a note; a later release may say more. None for half a note: the PID alone
        counts.

        :param text: content of the note file.
        """
        return value_of(text, cls)

    def to_json(self) -> str:
        """Return the content of the note file."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True)
class LockRecord:
    """The lock file as it was found.

    :param text: its content.
    :param age: seconds since it was written; negative when its time lies ahead.
    :param written_at: when that was, in seconds since the epoch.
    :param note: the note beside it; None when there is none or it names another PID.
    """

    text: str
    age: float
    written_at: float
    note: LockNote | None = None

    @property
    def pid(self) -> int | None:
        """The PID that the file holds; None when it holds no number that can be one."""
        text = self.text.strip()
        # A number that no kernel gives out would be an error in each question about it.
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """The state of one process that lives, or has ended and was not collected yet.

    :param name: of its program, for messages.
    :param is_zombie: whether it has ended.
    :param started_at: seconds since the epoch; None when the kernel does not tell.
    :param start_ticks: the same as Linux counts it, in ticks since the machine started: no clock that is set moves it.
    """

    name: str
    is_zombie: bool
    started_at: float | None
    start_ticks: int | None = None

    @classmethod
    def of(cls, pid: int) -> ProcessState | None:
        """Return the state of a process; None when there is no such process.

        :param pid: its process id on this machine.
        """
        import psutil  # imported here: most looks find no record, and ask for no process

        try:
            process = psutil.Process(pid)
            with process.oneshot():
                is_zombie = process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
                ticks = start_ticks(pid)
                started_at = process.create_time() if ticks is None else _time_of(ticks)
                return cls(name=process.name(), is_zombie=is_zombie, started_at=started_at, start_ticks=ticks)
        except psutil.NoSuchProcess:
            return None
        except psutil.AccessDenied:
            return cls(name="unknown", is_zombie=False, started_at=None)


def staleness(
    record: LockRecord,
    *,
    process: ProcessState | None,
    here: Machine,
    own_pid: int,
    locked_device: int | None = None,
) -> str | None:
    """Return why a record binds nobody; None when its owner must be respected.

    The caller holds the kernel lock: then a record with this process's own PID cannot be its own.

    :param record: the lock file and its note.
    :param process: the state of the process that the record's PID means on this machine; None: there is none.
    :param here: the facts of this machine.
    :param own_pid: process id of the caller.
    :param locked_device: device of the directory whose kernel lock is free, or held by the caller; None: another
        process holds the lock.
    """
    if record.pid is None:
        # Not at once: its writer may be between truncating and writing. A time that lies ahead proves nothing.
        return None if 0 <= record.age < UNFINISHED_GRACE else "it holds no process id"
    note = record.note
    if note is not None and not here.shares_pids_with(note):
        if _is_within_reach(note, here, locked_device):
            return f"its owner on {note.host} no longer holds the kernel lock"
        age = abs(record.age)
        return None if age < FOREIGN_HOST_AGE else f"its owner on {note.host} has shown no progress for {age:.0f} s"
    if _is_of_another_boot(record, here):
        return "it was written before this machine started"
    if record.pid == own_pid:
        return "it was left by an earlier process with our own id"
    return _staleness_of_process(record, process)


def _is_within_reach(note: LockNote, here: Machine, locked_device: int | None) -> bool:
    """Return whether an owner in another container of this machine would have to hold the kernel lock that we have.

    It would with the same kernel and the same mount: each mount of some file systems has locks of its own.
    """
    # A container that was killed and started again under another host name waited a minute for itself.
    is_same_kernel = bool(note.boot_id) and note.boot_id == here.boot_id
    return is_same_kernel and locked_device is not None and note.device == locked_device


def _is_of_another_boot(record: LockRecord, here: Machine) -> bool:
    if record.note is not None and record.note.boot_id and here.boot_id:
        return record.note.boot_id != here.boot_id  # a clock that is set does not change it
    return record.written_at < here.booted_at - CLOCK_SLACK


def _staleness_of_process(record: LockRecord, process: ProcessState | None) -> str | None:
    if process is None:
        return f"process {record.pid} is not running"
    if process.is_zombie:
        return f"process {record.pid} has ended"
    noted = None if record.note is None else record.note.process_start_ticks
    if noted is not None and process.start_ticks is not None:
        # Exact where the note tells: a process that got the number of a dead owner within a second was taken for the
        # owner.
        return None if noted == process.start_ticks else f"process {record.pid} is another one that got its number"
    # A foreign record has only its time. One case remains: a process that got the number within that slack of the
    # writing is taken for the owner, and one whose file server's clock is late by more than it has run is not.
    slack = CLOCK_SLACK if record.written_at.is_integer() else TICK_SLACK
    if process.started_at is not None and process.started_at > record.written_at + slack:
        return f"process {record.pid} started after it was written"
    return None


def _time_of(ticks: int) -> float:
    """Convert ticks to seconds since the epoch. psutil counts from the machine's start in full seconds only."""
    return _booted_at() + ticks / os.sysconf("SC_CLK_TCK")


def _booted_at() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    import psutil

    return min(psutil.boot_time(), time.time())


@cache
def _here() -> Machine:
    return Machine(
        host=socket.gethostname(),
        boot_id=_text_of("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_pid_namespace(),
        booted_at=_booted_at(),
    )


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""  # not Linux: boot times decide


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A lock file as one look saw it.

    :param record: its content.
    :param identity: which file it was.
    """

    record: LockRecord
    identity: Identity


def look_at(file: Path, note_file: Path) -> Found | None:
    """Return what stands in the lock file now; None when there is none.

    :param file: the lock file.
    :param note_file: the note beside it.
    :raises OddFile: when the lock file is no plain file, so that it binds nobody.
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
    """Return the content of a note; None when there is none that can be read.

    :param note_file: its path.
    """
    content = content_of(note_file)
    return None if content is None else content.decode(errors="replace")


def identity_of(status: os.stat_result) -> Identity:
    """Return which file a status is of.

    :param status: of ``os.stat`` or ``os.fstat``.
    """
    return status.st_dev, status.st_ino
