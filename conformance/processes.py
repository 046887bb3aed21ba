"""What do the processes of a task do? Whether it rests, and who is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import psutil

REST = 0.6
"""Seconds for which a task that waits does next to nothing: polling once a second or a hundred times is both rest."""
_BUSY_SHARE = 0.15
"""Of the time that it is watched: who spends more of it at work does not wait."""
_BUSY_LOOKS = 0.3
"""Of the looks at it: who wants to work at more of them is at work, or in the queue for it."""
_WANTS_TO_WORK = {psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP}
_LOOK_AGAIN = 0.02
_ENDED = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def comes_true(is_so: Callable[[], object], *, deadline: float) -> bool:
    """Whether it comes true before the deadline, in seconds."""
    end = time.monotonic() + deadline
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def lives(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return psutil.Process(pid).status() not in _ENDED
    except psutil.NoSuchProcess:
        return False


def watch_until_rest(
    pids: Sequence[int],
    is_over: Callable[[], object],
    *,
    deadline: float,
    seconds: float = REST,
    with_children: bool = True,
) -> bool:
    """Wait until these processes and all that they have started do next to nothing for a while, or it is over.

    :param is_over: asked again and again; what it notices ends the wait.
    :param deadline: seconds after which the wait is given up.
    :param seconds: how long they have to rest.
    :param with_children: whether what they have started counts too.
    :return: whether they came to rest; not where it was over, or the deadline was.
    """
    end = time.monotonic() + deadline
    looks = [_look(pids, with_children=with_children)]
    while not is_over() and time.monotonic() < end:
        looks.append(_look(pids, with_children=with_children))
        while len(looks) > 1 and looks[-1].at - looks[1].at >= seconds:
            looks.pop(0)
        if looks[-1].at - looks[0].at >= seconds and not any(_is_busy(pid, looks) for pid in pids):
            return True
        time.sleep(_LOOK_AGAIN)
    return False


@dataclass(frozen=True)
class _Look:
    """What processes and all below them had done at one moment.

    :param spent: PID -> seconds of processor.
    :param wanting: PIDs of those that wanted to work at this moment; also where something below had just ended.
    """

    at: float
    spent: Mapping[int, float]
    wanting: frozenset[int]


def _look(pids: Sequence[int], *, with_children: bool) -> _Look:
    spent, wanting = {}, set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            family = [process, *(process.children(recursive=True) if with_children else [])]
            times = [each.cpu_times() for each in family]
            if any(each.status() in _WANTS_TO_WORK for each in family):
                wanting.add(pid)
        except psutil.NoSuchProcess:
            if psutil.pid_exists(pid):
                wanting.add(pid)
            continue
        spent[pid] = sum(each.user + each.system for each in times)
    return _Look(time.monotonic(), spent, frozenset(wanting))


def _is_busy(pid: int, looks: Sequence[_Look]) -> bool:
    """Whether it did more than who looks now and then whether it may go on: that one is seen at it, too."""
    spent = [look.spent[pid] for look in looks if pid in look.spent]
    worked = sum(max(after - before, 0.0) for before, after in pairwise(spent))
    wanted = sum(pid in look.wanting for look in looks)
    return worked > _BUSY_SHARE * (looks[-1].at - looks[0].at) or wanted > _BUSY_LOOKS * len(looks)
