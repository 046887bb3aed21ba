"""Running a command, watching processes until they rest, and finding the installers that work on an environment.

A command runs to its end or to a timeout, and none of its processes is left either way.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath

import psutil

_MAKERS = {"venv", "virtualenv", "ensurepip"}
"""Modules and programs that make an environment, whatever words follow."""
_FILLERS = {"pip", "uv", "__pip-runner__.py"}
"""The last one is a part of pip, which ``pip --python`` starts on the Python of the environment."""
_VERBS = {"install", "uninstall", "sync", "venv"}
"""Commands of these programs that change an environment; a command that lists packages is not among them."""
_IS_MODULE = re.compile("-[a-zA-Z]*m")
_WITH_VALUE = {"-W", "-X"}
"""Options of Python whose value is the next word."""
_TARGETS = {
    "uv": ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON"),
    "pip": ("PIP_PYTHON", "PIP_PREFIX", "PIP_TARGET"),
}
"""Variables that tell an installer which environment it is to fill. Every activated shell sets ``VIRTUAL_ENV``, which
pip does not ask for."""
TIMEOUT = 180.0
"""Seconds that any single command may take: far more than a sound command needs on a slow machine."""
_NOT_STARTED = 127
"""Exit code of a shell for a command that is not there."""
REST = 0.6
"""Seconds of next to no work after which a task counts as waiting. Such a task may poll, even 100 times a second."""
_BUSY_SHARE = 0.15
"""A process that works for more than this share of the watched time does not wait."""
_BUSY_LOOKS = 0.3
"""A process that can run at more than this share of the looks is at work, or waits for a processor."""
_WANTS_TO_WORK = {psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP}
_AT_WORK = {"R", "D"}  # the same states, as /proc has them for each thread
_LOOK_AGAIN = 0.02
_LONGEST_GAP = 0.2
"""Seconds of a gap between two looks that count at most: on a busy machine the suite may get no CPU for seconds."""
_ENDED = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


@dataclass(frozen=True)
class Installer:
    """A process that makes or fills an environment.

    :param pid: the PID of the process.
    :param task: PID of the task that it works for; if no known task has started it, PID of the outermost installer that
        has.
    :param target: the environment, which has its ``pyvenv.cfg``.
    :param command: its command line, at most 200 characters of it.
    """

    pid: int
    task: int
    target: Path
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} of task {self.task} ({self.command})"


def installers_below(directory: Path, tasks: Sequence[int]) -> list[Installer]:
    """The installers that work on an environment in ``directory`` now, as their command lines and variables tell.

    :param directory: a ``virtualenv_dir``.
    :param tasks: PIDs of the tasks that may have started them.
    """
    return [found for process in psutil.process_iter() for found in _installer(process, directory, tasks)]


def two_into_one(installers: Iterable[Installer]) -> tuple[Installer, Installer] | None:
    """Two installers that work for different tasks on the same environment; None where there are none.

    :param installers: the installers that were seen at one moment.
    """
    first: dict[Path, Installer] = {}
    for each in installers:
        other = first.setdefault(each.target, each)
        if other.task != each.task:
            return other, each
    return None


def installer_of_build(pid: int) -> int | None:
    """The PID of the installer for which a build hook runs; None where no installer is found.

    :param pid: the PID of the process in which the build hook runs.
    """
    return next((each.pid for each in _and_parents(pid) if _is_installer(command_of(each))), None)


def _installer(process: psutil.Process, directory: Path, tasks: Sequence[int]) -> Iterator[Installer]:
    command = command_of(process)
    if not _is_installer(command):
        return
    for word in (*command, *_targets_of(process, command)):
        _, found, rest = word.partition(str(directory))
        target = _environment_around(Path(found + rest)) if found else None
        if target is not None and target.is_relative_to(directory):
            yield Installer(process.pid, _task_of(process, tasks), target, " ".join(command)[:200])
            return


def _is_installer(command: Sequence[str]) -> bool:
    programs = _programs(command)
    return not programs.isdisjoint(_MAKERS) or (not programs.isdisjoint(_FILLERS) and not _VERBS.isdisjoint(command))


def _programs(command: Sequence[str]) -> set[str]:
    """Names of the program and, if the program is Python, of its script or module."""
    modules = [module for option, module in pairwise(command) if _IS_MODULE.fullmatch(option)]
    words = [word for option, word in pairwise(command) if not word.startswith("-") and option not in _WITH_VALUE]
    return {PurePath(word).name.rstrip("0123456789.") for word in (*command[:1], *words[:1], *modules)}


def _targets_of(process: psutil.Process, command: Sequence[str]) -> list[str]:
    """The environments that the variables of an installer name; none where the process is gone."""
    try:
        variables = process.environ()
    except psutil.Error:
        return []
    asked = [name for program in _programs(command) for name in _TARGETS.get(program, ())]
    return [variables[name] for name in asked if name in variables]


def _environment_around(path: Path) -> Path | None:
    if not path.is_absolute():
        return None
    return next((each for each in (path, *path.parents) if (each / "pyvenv.cfg").is_file()), None)


def _task_of(process: psutil.Process, tasks: Sequence[int]) -> int:
    family = _and_parents(process.pid)
    known = next((each.pid for each in family if each.pid in tasks), None)
    if known is not None:
        return known
    return [process.pid, *(each.pid for each in family if _is_installer(command_of(each)))][-1]


def _and_parents(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.parents()]
    except psutil.NoSuchProcess:
        return []


def command_of(process: psutil.Process) -> list[str]:
    """The command line of a process; empty where the process is gone, or nobody may look.

    :param process: the process.
    """
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@dataclass(frozen=True, kw_only=True)
class FinishedCommand:
    """A command that has ended.

    :param command: the command line.
    :param exit_code: negative: ended by that signal; None: still running at the timeout, and killed.
    :param output: stdout and stderr in order.
    """

    command: Sequence[str]
    exit_code: int | None
    output: str

    @property
    def succeeded(self) -> bool:
        """Whether it left with exit code 0."""
        return self.exit_code == 0

    def __str__(self) -> str:
        ending = "no end before the timeout, killed" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"{' '.join(self.command)}\n  {ending}; its output:\n{self.output}"


def run(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path, timeout: float = TIMEOUT
) -> FinishedCommand:
    """Run a command with the null device as its input.

    :param command: the command line; a program that is not there gives exit code 127.
    :param environment: added to this process's variables.
    :param cwd: its current directory.
    :param timeout: seconds after which it is killed.
    """
    # Into a file: whatever the command leaves running may hold a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, by which all of it can be killed
            )
        except OSError as error:  # such as a program that the implementation should have installed
            return FinishedCommand(command=command, exit_code=_NOT_STARTED, output=str(error))
        exit_code = None
        try:
            with suppress(subprocess.TimeoutExpired):
                exit_code = process.wait(timeout=timeout)
        finally:  # also when the user interrupts the suite, whose terminal does not reach this session
            with suppress(ProcessLookupError):  # nothing is left, as it should be
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read().decode(errors="backslashreplace")
    return FinishedCommand(command=command, exit_code=exit_code, output=text)


def said_by_python(prefix: Path, code: str, *, cwd: Path) -> FinishedCommand:
    """The answer of an environment's Python, which ignores PYTHON variables (``-I``).

    :param prefix: the folder of the environment.
    :param code: what it runs.
    :param cwd: its current directory.
    """
    return run([str(prefix / "bin" / "python"), "-I", "-c", code], cwd=cwd)


def lives(pid: int) -> bool:
    """Whether the process is there and no zombie.

    :param pid: the PID of the process.
    """
    try:
        return psutil.Process(pid).status() not in _ENDED
    except psutil.NoSuchProcess:
        return False


def watch_until_rest(
    pids: Sequence[int],
    is_over: Callable[[], object],
    *,
    timeout: float,
    seconds: float = REST,
    with_children: bool = True,
) -> bool:
    """Wait until these processes and their descendants do next to nothing for a while, or until ``is_over``.

    :param pids: the PIDs of the processes.
    :param is_over: asked again and again; a true answer ends the wait.
    :param timeout: seconds after which the wait is given up.
    :param seconds: the seconds for which they have to rest.
    :param with_children: whether their descendants count too.
    :returns: True: they came to rest. False: ``is_over`` was true, all processes have ended, or the time was up.
    """
    end = (last := time.monotonic()) + timeout
    looks, watched = [_look(pids, 0.0, with_children=with_children)], 0.0
    while not is_over() and time.monotonic() < end:
        watched += min(time.monotonic() - last, _LONGEST_GAP)
        last = time.monotonic()
        looks.append(_look(pids, watched, with_children=with_children))
        if pids and not any(map(lives, pids)):
            return False
        while len(looks) > 1 and looks[-1].at - looks[1].at >= seconds:
            looks.pop(0)
        if looks[-1].at - looks[0].at >= seconds and not any(_is_busy(pid, looks) for pid in pids):
            return True
        time.sleep(_LOOK_AGAIN)
    return False


@dataclass(frozen=True)
class _Look:
    """The work that processes and their descendants had done up to one moment.

    :param at: seconds that they had been watched for.
    :param spent: PID -> seconds of processor, also of children that have ended, and seconds in the queue for it.
    :param wanting: PIDs of the processes that could run at this moment, or of which a descendant had just ended.
    """

    at: float
    spent: Mapping[int, float]
    wanting: frozenset[int]


def _look(pids: Sequence[int], at: float, *, with_children: bool) -> _Look:
    spent, wanting = {}, set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            family = [process, *(process.children(recursive=True) if with_children else [])]
            seconds = sum(sum(each.cpu_times()) + _seconds_in_the_queue(each.pid) for each in family)
            if any(map(_wants_to_work, family)):
                wanting.add(pid)
        except (psutil.NoSuchProcess, FileNotFoundError):  # the latter of /proc/PID/task
            # If the process itself exists, a descendant has ended just now: it was at work.
            if psutil.pid_exists(pid):
                wanting.add(pid)
            continue
        spent[pid] = seconds
    return _Look(at, spent, frozenset(wanting))


def _wants_to_work(process: psutil.Process) -> bool:
    # The state of a process is that of its main thread, which may wait for a thread that gets no processor. The kernel
    # counts the seconds in the run queue only once the thread runs.
    states = (text.rpartition(")")[2].split()[0] for text in _of_threads(process.pid, "stat"))
    return any(state in _AT_WORK for state in states) or process.status() in _WANTS_TO_WORK


def _seconds_in_the_queue(pid: int) -> float:
    """Seconds for which its threads could have run and got no processor; 0 where the kernel does not tell."""
    return sum(int(text.split()[1]) for text in _of_threads(pid, "schedstat")) / 1e9


def _of_threads(pid: int, name: str) -> Iterator[str]:
    """The texts of the files of this name that the kernel has for the threads of a process."""
    for file in Path(f"/proc/{pid}/task").glob(f"*/{name}"):
        with suppress(OSError):  # the thread has ended
            yield file.read_text(encoding="utf-8", errors="replace")


def _is_busy(pid: int, looks: Sequence[_Look]) -> bool:
    """Whether a process did more than poll now and then: a process that waits is sometimes seen at work, too."""
    spent = [look.spent[pid] for look in looks if pid in look.spent]
    worked = sum(max(after - before, 0.0) for before, after in pairwise(spent))
    wanted = sum(pid in look.wanting for look in looks)
    return worked > _BUSY_SHARE * (looks[-1].at - looks[0].at) or wanted > _BUSY_LOOKS * len(looks)
