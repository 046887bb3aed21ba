"""Which installers work on environments below a directory now, and for which task?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath

import psutil

_MAKERS = {"venv", "virtualenv", "ensurepip"}
"""Modules and programs that make an environment, whatever words follow."""
_FILLERS = {"pip", "uv"}
_VERBS = {"install", "uninstall", "sync", "venv"}
"""What they do to an environment: who asks for a list does nothing to it."""
_IS_MODULE = re.compile("-[a-zA-Z]*m")
_WITH_VALUE = {"-W", "-X"}
"""Options of Python that another word belongs to."""
_TARGETS = {
    "uv": ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON"),
    "pip": ("PIP_PYTHON", "PIP_PREFIX", "PIP_TARGET"),
}
"""Variables that tell an installer which environment it is to fill. Every activated shell sets ``VIRTUAL_ENV``, which
pip does not ask for."""


@dataclass(frozen=True)
class Installer:
    """A process that makes or fills an environment.

    :param task: PID of the task that it works for; where none of those that are known has started it, of the first
        installer that it comes from.
    :param target: the environment, which has its ``pyvenv.cfg``.
    """

    pid: int
    task: int
    target: Path
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} of task {self.task} ({self.command})"


def installers_below(directory: Path, tasks: Sequence[int]) -> list[Installer]:
    """The installers that work on an environment in ``directory`` now, as their command lines and variables tell.

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

    None where neither its command line nor its variables name one.
    """
    for process in _and_parents(pid):
        command = _command(process)
        if not _is_installer(command):
            continue
        # The program last: an installer may stand in an environment itself, the worker's.
        program, *words = command
        for word in (*words, *_targets_of(process, command), program):
            target = _environment_around(Path(word.partition("=")[2] or word))
            if target is not None:
                return process.pid, target
    return None


def _installer(process: psutil.Process, directory: Path, tasks: Sequence[int]) -> Iterator[Installer]:
    command = _command(process)
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
    """Names of what runs: the program, and where that is Python its script or its module."""
    modules = [module for option, module in pairwise(command) if _IS_MODULE.fullmatch(option)]
    words = [word for option, word in pairwise(command) if not word.startswith("-") and option not in _WITH_VALUE]
    return {PurePath(word).name.rstrip("0123456789.") for word in (*command[:1], *words[:1], *modules)}


def _targets_of(process: psutil.Process, command: Sequence[str]) -> list[str]:
    """What its variables name; they are another process's, and it may be gone."""
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
    return [process.pid, *(each.pid for each in family if _is_installer(_command(each)))][-1]


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
