"""What is tried of a mount by two processes: what the locks and the publishing of environments rely on.

Of each trial the host's side gives what was wrong, and the guest's does its part.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv.cli.doctor.channel import Meeting
from cosmos_venv.kernel_lock import open_for_locking

_TURN = 0.02
_LONGEST_RELEASE = 10.0
_BUSY = {errno.EAGAIN, errno.EACCES}

# Holds the lock until it is killed: says so when it has it.
_HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def exclusion(meeting: Meeting) -> list[str]:
    """The host's child holds the lock; the guest tries it, before and after that child is killed."""
    command = [sys.executable, "-I", "-c", _HOLD, str(meeting.lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
            holds = holder.stdout.readline().strip() == b"held"
            meeting.say("held", holds=holds)
            tried = meeting.hear("tried")
        finally:
            holder.kill()
            error = holder.communicate()[1].decode(errors="replace").strip()
    meeting.say("killed")
    freed = meeting.hear("freed")
    if not holds:
        return [f"it knows no kernel locks (flock): {error.splitlines()[-1] if error else 'no word'}"]
    faults = []
    if tried["got"]:
        faults.append("the lock that one side holds, the other gets too: two would build at once")
    elif tried["error"]:
        faults.append(f"the other side cannot ask for a lock: {tried['error']}")
    if not freed["got"] and not tried["error"]:
        faults.append(f"the lock of a killed process is not free after {_LONGEST_RELEASE:.0f} s")
    return faults


def try_what_is_locked(meeting: Meeting) -> None:
    meeting.hear("held")
    with _opened(meeting.lock) as descriptor:
        got, error = _try(descriptor, fcntl.LOCK_EX)
        meeting.say("tried", got=got, error=error)
    meeting.hear("killed")
    with _opened(meeting.lock) as descriptor:
        meeting.say("freed", got=_gets(descriptor, fcntl.LOCK_EX))


def sharing(meeting: Meeting) -> list[str]:
    """The guest holds a shared lock, as a task does; the host shares it, and may not have it alone, as a pruner."""
    is_held = meeting.hear("shared")["got"]
    with _opened(meeting.lock) as descriptor:
        shares = _try(descriptor, fcntl.LOCK_SH)[0]
    with _opened(meeting.lock) as descriptor:
        is_alone = _try(descriptor, fcntl.LOCK_EX)[0]
    meeting.say("asked")
    meeting.hear("released")
    if not is_held:
        return []  # told already
    faults = (
        [] if shares else ["a shared lock keeps out another shared one: tasks could not use one environment at once"]
    )
    return faults + (["an environment that the other side uses could be removed"] if is_alone else [])


def hold_what_is_shared(meeting: Meeting) -> None:
    with _opened(meeting.lock) as descriptor:
        meeting.say("shared", got=_try(descriptor, fcntl.LOCK_SH)[0])
        meeting.hear("asked")
    meeting.say("released")


def links(meeting: Meeting) -> tuple[list[str], float]:
    """The host links a record and publishes by a link; the guest tries to link over it, and looks.

    The second value is how many seconds that took.
    """
    record, link = meeting.folder / "record", meeting.folder / "link"
    error = _why_not(lambda: _link_record(meeting, record))
    error = error or _why_not(lambda: _lead(link, "first"))
    meeting.say("linked", error=error)
    meeting.hear("looked")
    error = error or _why_not(lambda: _lead(link, "second"))
    replaced = time.monotonic()
    meeting.say("replaced", error=error)
    found = meeting.hear("found")
    lag = max(time.monotonic() - replaced - _TURN, 0.0)
    if error:
        return [f"links cannot be made: {error}"], 0.0
    names = {"linked": "a hard link", "created": "O_EXCL"}
    faults = [f"{names[how]} is made although there is one: two would build at once" for how in names if found[how]]
    return faults + ([] if found["sees"] else ["a link that was replaced still leads to what it led to before"]), lag


def try_what_is_there(meeting: Meeting) -> None:
    record, link = meeting.folder / "record", meeting.folder / "link"
    if meeting.hear("linked")["error"]:
        linked = created = False
    else:
        linked = not _why_not(lambda: _link_record(meeting, record))
        created = not _why_not(lambda: os.close(os.open(record, os.O_CREAT | os.O_EXCL | os.O_WRONLY)))
        _why_not(link.readlink)  # what a client has seen it may remember
    meeting.say("looked")
    meeting.hear("replaced")
    deadline = time.monotonic() + _LONGEST_RELEASE
    while not (sees := _leads_to(link, "second")) and time.monotonic() < deadline:
        time.sleep(_TURN)
    meeting.say("found", linked=linked, created=created, sees=sees)


def _link_record(meeting: Meeting, record: Path) -> None:
    apart = record.with_name(f".record-{meeting.me}")
    apart.write_text(meeting.me, encoding="ascii")
    os.link(apart, record)


def _lead(link: Path, target: str) -> None:
    apart = link.with_name(f".{link.name}-{target}")
    apart.symlink_to(target)
    apart.replace(link)


def _leads_to(link: Path, target: str) -> bool:
    try:
        return str(link.readlink()) == target
    except OSError:
        return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = open_for_locking(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int) -> tuple[bool, str]:
    """Whether the lock is had now; and why it cannot be asked for."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        return False, "" if error.errno in _BUSY else str(error.strerror)
    return True, ""


def _gets(descriptor: int, kind: int) -> bool:
    deadline = time.monotonic() + _LONGEST_RELEASE
    while not (got := _try(descriptor, kind)[0]) and time.monotonic() < deadline:
        time.sleep(_TURN)
    return got


def _why_not(step: Callable[[], object]) -> str:
    try:
        step()
    except OSError as error:
        return error.strerror or str(error)
    return ""
