"""Do two processes that share a mount see the same locks? Each does its part in turn, and tells the other by files.

The mount is all that they share: no port listens, and it makes no difference whether they are on one host or on two.
What is tried is what the code relies on: a kernel lock (``flock``) excludes the other side, a shared one lets it share,
both end with a process that is killed; a hard link and ``O_EXCL`` are made once; a link that is replaced is seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cosmos_venv.cli.doctor import mount_trials
from cosmos_venv.cli.doctor.channel import HOST, Meeting
from cosmos_venv.environments.lock_record import LockNote


@dataclass(kw_only=True)
class Seen:
    """What one meeting has shown. A text is what was wrong; empty: nothing.

    :param host, guest: who they are (``LockNote``, and the user id).
    :param lag: seconds until the guest saw a link that was replaced.
    :param skew: seconds that the guest's clock is ahead; ``skew_known_to`` is how sure that is.
    """

    host: dict[str, Any]
    guest: dict[str, Any]
    faults: list[str] = field(default_factory=list)
    lag: float = 0.0
    skew: float = 0.0
    skew_known_to: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def receive_guest(meeting: Meeting, *, patience: float) -> Seen:
    """The part of who has made the folder.

    :param patience: seconds that the other side may take to come.
    :raises NobodyAnswers: when it does not come, or falls silent.
    :raises OSError: when the folder cannot be used.
    """
    meeting.lock.touch()
    meeting.say("hello", **_who(meeting.folder))
    guest = meeting.hear("hello", patience=patience)
    seen = Seen(host=_who(meeting.folder), guest=guest)
    seen.skew, seen.skew_known_to = _skew(meeting)
    seen.faults += [*mount_trials.exclusion(meeting), *mount_trials.sharing(meeting)]
    faults, seen.lag = mount_trials.links(meeting)
    seen.faults += faults
    meeting.say("seen", **seen.to_dict())
    meeting.hear("goodbye")
    return seen


def visit(meeting: Meeting) -> Seen:
    """The part of who comes.

    :raises NobodyAnswers: when the other side falls silent.
    :raises OSError: when the folder cannot be used.
    """
    meeting.hear("hello")
    meeting.say("hello", **_who(meeting.folder))
    meeting.hear("time")
    meeting.say("time", now=time.time())
    mount_trials.try_what_is_locked(meeting)
    mount_trials.hold_what_is_shared(meeting)
    mount_trials.try_what_is_there(meeting)
    seen = Seen(**meeting.hear("seen"))
    meeting.say("goodbye")
    return seen


def _who(folder: Path) -> dict[str, Any]:
    note = LockNote.of_this_process(device=folder.stat().st_dev)
    return {**json.loads(note.to_json()), "uid": os.geteuid()}


def _skew(meeting: Meeting) -> tuple[float, float]:
    before = time.time()
    meeting.say("time")
    then = float(meeting.hear("time")["now"])
    after = time.time()
    return then - (before + after) / 2, (after - before) / 2


def meet_here(folder: Path, *, patience: float) -> Seen:
    """Both sides on this host: the guest is a process of its own.

    :param patience: seconds that each word may take.
    :raises NobodyAnswers: when it does not come.
    :raises OSError: when the folder cannot be used.
    """
    command = [sys.executable, "-I", "-c", _GUEST, json.dumps(sys.path), str(folder), str(patience)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as guest:
        try:
            return receive_guest(Meeting(folder=folder, me=HOST, patience=patience), patience=patience)
        except BaseException:
            guest.kill()
            raise


_GUEST = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from cosmos_venv.cli.doctor.channel import GUEST, Meeting
from cosmos_venv.cli.doctor.meeting import visit
visit(Meeting(folder=Path(sys.argv[2]), me=GUEST, patience=float(sys.argv[3])))
"""
