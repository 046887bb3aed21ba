"""The processes that run on when a race is over: services, which stay by design, and what was left behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_cosmos_venv.errors import ToolkitMisuse

if TYPE_CHECKING:
    import psutil

OPTION = "cosmos_services"
"""In the ini file."""


class LeftBehind(tuple[str, ...]):
    """The processes that nobody has declared to stay, in words: a tuple, whose failed comparison tells the way out.

    :param names: the names that such processes have given themselves, by which they can be declared.
    """

    names: tuple[str, ...]

    def __new__(cls, processes: Iterable[str] = (), *, names: Iterable[str] = ()) -> LeftBehind:
        made = super().__new__(cls, processes)
        made.names = tuple(dict.fromkeys(names))
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return _left_behind, (tuple(self), self.names)

    def __repr__(self) -> str:
        # `assert not race.left_behind` shows this, cut in its middle; a comparison shows `explanation`.
        return f"{tuple(self)!r}{f' ({self._advice})' if self else ''}"

    def explanation(self, expected: object) -> list[str]:
        """The lines that pytest shows where it was compared with something else."""
        count = f"{len(self)} process{'' if len(self) == 1 else 'es'}" if self else "No process"
        # The advice first: pytest shows some six hundred characters, and a command line may be longer.
        return [f"{count} left behind, {expected!r} expected", *([f"({self._advice})"] if self else []), *self]

    @property
    def _advice(self) -> str:
        name = self.names[0] if self.names else "NAME"
        return f"declare what is meant to stay: {OPTION} = {name} in the ini file, or services=[{name!r}]"


def _left_behind(processes: tuple[str, ...], names: tuple[str, ...]) -> LeftBehind:
    return LeftBehind(processes, names=names)


@dataclass(frozen=True, kw_only=True)
class Remains:
    """The processes that run on when all contenders have ended, in words.

    :param left_behind: those that nobody has declared.
    :param services: those that stay by design.
    """

    left_behind: LeftBehind = LeftBehind()  # noqa: RUF009 - it cannot be changed
    services: tuple[str, ...] = ()


def sort_out(processes: Sequence[psutil.Process], services: Sequence[str]) -> Remains:
    """Each process is judged by itself: what a service has started is none of it unless it is named too.

    :param services: patterns as for file names (``*``, ``?``, ``[...]``), of a process's name or its command line.
    """
    import psutil

    left: list[str] = []
    stay: list[str] = []
    names: list[str] = []
    for process in processes:
        try:
            name, command = process.name(), process.cmdline()
        except psutil.NoSuchProcess:
            continue
        except psutil.Error:
            name, command = "", []
        is_service = any(fnmatchcase(text, pattern) for pattern in services for text in (name, " ".join(command)))
        (stay if is_service else left).append(_in_words(process.pid, name, command))
        if not is_service and _is_own_name(name, command):
            names.append(name)
    return Remains(left_behind=LeftBehind(left, names=names), services=tuple(stay))


def require_patterns(services: Sequence[str], of: str) -> tuple[str, ...]:
    """
    :param of: what names them, for the message.
    :raises ToolkitMisuse: for what is no list of patterns, or fits every process.
    """
    if not isinstance(services, (list, tuple)) or not all(isinstance(each, str) for each in services):
        raise ToolkitMisuse(f"{of}={services!r}: give a list of process names or command lines: ['dbt-server*'].")
    for each in services:
        if not each.strip("*? "):
            raise ToolkitMisuse(f"{of}: {each!r} fits every process, so that nothing would be left behind: name one.")
    return tuple(services)


def _in_words(pid: int, name: str, command: Sequence[str]) -> str:
    """With its name where it has given itself one: by that it can be declared."""
    line = " ".join(command)
    return f"PID {pid}: {f'{name}: {line}' if line and _is_own_name(name, command) else line or name}"


def _is_own_name(name: str, command: Sequence[str]) -> bool:
    return bool(name) and not (command and Path(command[0]).name.startswith(name))
