"""Two processes on one mount try locks and publishing together, and talk by files.

The mount is all that they share: no port listens, and it makes no difference whether they are on one host. Each word is
a file, which appears in one step. The host's side of each trial returns what was wrong, and the guest's does its part.

What is tried is what the code relies on: a kernel lock (``flock``) excludes the other side, a shared one lets it share,
both end with a process that is killed; a hard link and ``O_EXCL`` are made once; a link that is replaced is seen.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cosmos_venv.environments.lock_record import LockNote
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.kernel_lock import open_for_locking

HOST, GUEST = "host", "guest"
LONGEST_ANSWER = 60.0  # an NFS client may believe for that long that a file is not there
_TURN = 0.02


class NobodyAnswers(VirtualenvError):
    """The other side has not said a word in time."""


@dataclass(frozen=True, kw_only=True)
class PeerSession:
    """One side of a check that two processes make on one mount.

    :param folder: on the mount; both sides can write there.
    :param me: ``host`` (which has made the folder) or ``guest``.
    :param patience: seconds that each word of the other side may take.
    """

    folder: Path
    me: str
    patience: float = LONGEST_ANSWER

    @property
    def lock(self) -> Path:
        """The file that both sides lock."""
        return self.folder / "lock"

    def say(self, word: str, **facts: object) -> None:
        """Tell the other side a word, in one step: it never reads half of it.

        :param word: names the step.
        :param **facts: plain data that goes with it.
        """
        apart = self.folder / f".{self.me}-{word}"
        apart.write_text(json.dumps(facts), encoding="utf-8")
        apart.replace(self.folder / f"{self.me}-{word}")

    def hear(self, word: str, *, patience: float | None = None) -> dict[str, Any]:
        """Return what the other side has said under a word.

        :param word: names the step.
        :param patience: seconds to wait; None: those of the session.
        :raises NobodyAnswers: when it does not in time.
        """
        name = f"{GUEST if self.me == HOST else HOST}-{word}"
        longest = self.patience if patience is None else patience
        deadline = time.monotonic() + longest
        # Listing and not opening it: a client of NFS remembers longer that one file is not there.
        while name not in os.listdir(self.folder):  # noqa: PTH208
            if time.monotonic() > deadline:
                raise NobodyAnswers(f"The other side has not said {word!r} within {longest:.0f} s.")
            time.sleep(_TURN)
        said: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return said


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


def exclusion(session: PeerSession) -> list[str]:
    """Return what was wrong where the host's child holds the lock and the guest tries it, before and after that child
    is killed.

    :param session: the host's side.
    """
    command = [sys.executable, "-I", "-c", _HOLD, str(session.lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
            holds = holder.stdout.readline().strip() == b"held"
            session.say("held", holds=holds)
            tried = session.hear("tried")
        finally:
            holder.kill()
            error = holder.communicate()[1].decode(errors="replace").strip()
    session.say("killed")
    freed = session.hear("freed")
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


def try_what_is_locked(session: PeerSession) -> None:
    """Do the guest's part of ``exclusion``.

    :param session: the guest's side.
    """
    session.hear("held")
    with _opened(session.lock) as descriptor:
        got, error = _try(descriptor, fcntl.LOCK_EX)
        session.say("tried", got=got, error=error)
    session.hear("killed")
    with _opened(session.lock) as descriptor:
        session.say("freed", got=_gets(descriptor, fcntl.LOCK_EX))


def sharing(session: PeerSession) -> list[str]:
    """Return what was wrong where the guest holds a shared lock, as a task does; the host shares it, and may not have
    it alone, as a pruner wants it.

    :param session: the host's side.
    """
    is_held = session.hear("shared")["got"]
    with _opened(session.lock) as descriptor:
        shares = _try(descriptor, fcntl.LOCK_SH)[0]
    with _opened(session.lock) as descriptor:
        is_alone = _try(descriptor, fcntl.LOCK_EX)[0]
    session.say("asked")
    session.hear("released")
    if not is_held:
        return []  # told already
    faults = (
        [] if shares else ["a shared lock keeps out another shared one: tasks could not use one environment at once"]
    )
    return faults + (["an environment that the other side uses could be removed"] if is_alone else [])


def hold_what_is_shared(session: PeerSession) -> None:
    """Do the guest's part of ``sharing``.

    :param session: the guest's side.
    """
    with _opened(session.lock) as descriptor:
        session.say("shared", got=_try(descriptor, fcntl.LOCK_SH)[0])
        session.hear("asked")
    session.say("released")


def links(session: PeerSession) -> tuple[list[str], float]:
    """Return what was wrong where the host links a record and publishes by a link, and the guest tries to link over it,
    and looks; and the seconds that took.

    :param session: the host's side.
    """
    record, link = session.folder / "record", session.folder / "link"
    error = _why_not(lambda: _link_record(session, record))
    error = error or _why_not(lambda: _lead(link, "first"))
    session.say("linked", error=error)
    session.hear("looked")
    error = error or _why_not(lambda: _lead(link, "second"))
    replaced = time.monotonic()
    session.say("replaced", error=error)
    found = session.hear("found")
    lag = max(time.monotonic() - replaced - _TURN, 0.0)
    if error:
        return [f"links cannot be made: {error}"], 0.0
    names = {"linked": "a hard link", "created": "O_EXCL"}
    faults = [f"{names[how]} is made although there is one: two would build at once" for how in names if found[how]]
    return faults + ([] if found["sees"] else ["a link that was replaced still leads to what it led to before"]), lag


def try_what_is_there(session: PeerSession) -> None:
    """Do the guest's part of ``links``.

    :param session: the guest's side.
    """
    record, link = session.folder / "record", session.folder / "link"
    if session.hear("linked")["error"]:
        linked = created = False
    else:
        linked = not _why_not(lambda: _link_record(session, record))
        created = not _why_not(lambda: os.close(os.open(record, os.O_CREAT | os.O_EXCL | os.O_WRONLY)))
        _why_not(link.readlink)  # what a client has seen it may remember
    session.say("looked")
    session.hear("replaced")
    deadline = time.monotonic() + _LONGEST_RELEASE
    while not (sees := _leads_to(link, "second")) and time.monotonic() < deadline:
        time.sleep(_TURN)
    session.say("found", linked=linked, created=created, sees=sees)


def _link_record(session: PeerSession, record: Path) -> None:
    apart = record.with_name(f".record-{session.me}")
    apart.write_text(session.me, encoding="ascii")
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


@dataclass(kw_only=True)
class Seen:
    """The result of one peer check. A text says what was wrong; an empty one, that nothing was.

    :param lag: seconds until the guest saw a link that was replaced.
    :param skew: seconds that the guest's clock is ahead.
    :param skew_known_to: seconds by which that may be wrong, either way.
    :param host, guest: who they are (``LockNote``, and the user id).
    :param faults: what was wrong, a text each.
    """

    host: dict[str, Any]
    guest: dict[str, Any]
    faults: list[str] = field(default_factory=list)
    lag: float = 0.0
    skew: float = 0.0
    skew_known_to: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return asdict(self)


def receive_guest(session: PeerSession, *, patience: float) -> Seen:
    """Do the host's part of the check.

    :param session: the host's side.
    :param patience: seconds that the other side may take to come.
    :raises NobodyAnswers: when it does not come, or falls silent.
    :raises OSError: when the folder cannot be used.
    """
    session.lock.touch()
    session.say("hello", **_who(session.folder))
    guest = session.hear("hello", patience=patience)
    seen = Seen(host=_who(session.folder), guest=guest)
    seen.skew, seen.skew_known_to = _skew(session)
    seen.faults += [*exclusion(session), *sharing(session)]
    faults, seen.lag = links(session)
    seen.faults += faults
    session.say("seen", **seen.to_dict())
    session.hear("goodbye")
    return seen


def visit(session: PeerSession) -> Seen:
    """Do the guest's part of the check.

    :param session: the guest's side.
    :raises NobodyAnswers: when the other side falls silent.
    :raises OSError: when the folder cannot be used.
    """
    session.hear("hello")
    session.say("hello", **_who(session.folder))
    session.hear("time")
    session.say("time", now=time.time())
    try_what_is_locked(session)
    hold_what_is_shared(session)
    try_what_is_there(session)
    seen = Seen(**session.hear("seen"))
    session.say("goodbye")
    return seen


def _who(folder: Path) -> dict[str, Any]:
    note = LockNote.of_this_process(device=folder.stat().st_dev)
    return {**json.loads(note.to_json()), "uid": os.geteuid()}


def _skew(session: PeerSession) -> tuple[float, float]:
    before = time.time()
    session.say("time")
    then = float(session.hear("time")["now"])
    after = time.time()
    return then - (before + after) / 2, (after - before) / 2


def meet_here(folder: Path, *, patience: float) -> Seen:
    """Do both parts on this host: the guest is a process of its own.

    :param folder: on the mount.
    :param patience: seconds that each word may take.
    :raises NobodyAnswers: when it does not come.
    :raises OSError: when the folder cannot be used.
    """
    command = [sys.executable, "-I", "-c", _GUEST, json.dumps(sys.path), str(folder), str(patience)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as guest:
        try:
            return receive_guest(PeerSession(folder=folder, me=HOST, patience=patience), patience=patience)
        except BaseException:
            guest.kill()
            raise


_GUEST = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from cosmos_venv.cli.doctor.peer_check import GUEST, PeerSession
from cosmos_venv.cli.doctor.peer_check import visit
visit(PeerSession(folder=Path(sys.argv[2]), me=GUEST, patience=float(sys.argv[3])))
"""
