"""What do the processes of a task do? Whether it rests, which installers work below a directory, who is gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

REST = 0.6
"""Seconds for which a task that waits does next to nothing: polling once a second or a hundred times is both rest."""
_BUSY_SHARE = 0.15
"""Of the time that it is watched: who spends more of it at work does not wait."""
_BUSY_LOOKS = 0.3
"""Of the looks at it: who wants to work at more of them is at work, or in the queue for it."""
_WANTS_TO_WORK = {psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP}
_LOOK_AGAIN = 0.02
_INSTALLERS = {"pip", "pip3", "uv", "venv", "virtualenv", "ensurepip"}
_ENDED = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


@dataclass(frozen=True)
class Installer:
    """A process that makes or fills an environment.

    :param task: PID of the task that it works for; where that is gone, of the first process of the installer.
    :param target: the environment, which has its ``pyvenv.cfg``.
    """

    pid: int
    task: int
    target: Path
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} of task {self.task} ({self.command})"


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


def installers_below(directory: Path, tasks: Sequence[int]) -> list[Installer]:
    """The installers that work on an environment in ``directory`` now, as their command lines tell.

    :param tasks: PIDs of the tasks that may have started them.
    """
    return [found for process in psutil.process_iter() for found in _installer(process, directory, tasks)]


def two_into_one(installers: Iterable[Installer]) -> tuple[Installer, Installer] | None:
    """Two that work for different tasks on the same environment."""
    first: dict[Path, Installer] = {}
    for each in installers:
        other = first.setdefault(each.target, each)
        if other.task != each.task:
            return other, each
    return None


def environment_of_build(pid: int) -> tuple[int, Path] | None:
    """Of an installer whose build hook runs in process ``pid``: its own PID, and the environment that it fills.

    None where its command line names none.
    """
    for process in _and_parents(pid):
        program, *words = _command(process) or [""]
        if not _is_installer([program, *words]):
            continue
        # The program last: an installer may stand in an environment itself, the worker's.
        for word in (*words, program):
            target = _environment_around(Path(word.partition("=")[2] or word))
            if target is not None:
                return process.pid, target
    return None


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


def _installer(process: psutil.Process, directory: Path, tasks: Sequence[int]) -> Iterator[Installer]:
    command = _command(process)
    if not any(str(directory) in word for word in command) or not _is_installer(command):
        return
    for word in command:
        _, found, rest = word.partition(str(directory))
        target = _environment_around(Path(found + rest)) if found else None
        if target is not None and target.is_relative_to(directory):
            yield Installer(process.pid, _task_of(process, tasks), target, " ".join(command)[:200])
            return


def _is_installer(command: Sequence[str]) -> bool:
    return any(os.path.basename(word) in _INSTALLERS for word in command)  # noqa: PTH119 - of any text


def _environment_around(path: Path) -> Path | None:
    if not path.is_absolute():
        return None
    return next((each for each in (path, *path.parents) if (each / "pyvenv.cfg").is_file()), None)


def _task_of(process: psutil.Process, tasks: Sequence[int]) -> int:
    chain = [each.pid for each in _and_parents(process.pid)]
    known = next((pid for pid in chain if pid in tasks), None)
    return known if known is not None else process.pid


def _and_parents(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.parents()]
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
