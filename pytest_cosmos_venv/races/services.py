"""Which processes stay by design? Those that a tester has named; all else that a race leaves was left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_cosmos_venv.errors import ToolkitMisuse

if TYPE_CHECKING:
    import psutil

OPTION = "cosmos_services"
"""In the ini file."""


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What runs on when all contenders have ended, each process in words.

    :param left_behind: what nobody has named.
    :param services: what stays by design.
    """

    left_behind: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


def sort_out(processes: Sequence[psutil.Process], services: Sequence[str]) -> Remains:
    """Each process is judged by itself: what a service has started is none of it unless it is named too.

    :param services: patterns as for file names (``*``, ``?``, ``[...]``), of a process's name or its command line.
    """
    import psutil

    left: list[str] = []
    stay: list[str] = []
    for process in processes:
        try:
            name, command = process.name(), process.cmdline()
        except psutil.NoSuchProcess:
            continue
        except psutil.Error:
            name, command = "", []
        is_service = any(fnmatchcase(text, pattern) for pattern in services for text in (name, " ".join(command)))
        (stay if is_service else left).append(_in_words(process.pid, name, command))
    return Remains(left_behind=tuple(left), services=tuple(stay))


def require_patterns(services: Sequence[str], of: str) -> tuple[str, ...]:
    """
    :param of: what names them, for the message.
    :raises ToolkitMisuse: for what is no list of patterns, or fits every process.
    """
    if isinstance(services, str) or not all(isinstance(each, str) for each in services):
        raise ToolkitMisuse(f"{of}={services!r}: give a list of process names or command lines: ['dbt-server*'].")
    for each in services:
        if not each.strip("*? "):
            raise ToolkitMisuse(f"{of}: {each!r} fits every process, so that nothing would be left behind: name one.")
    return tuple(services)


def _in_words(pid: int, name: str, command: Sequence[str]) -> str:
    """With its name where it has given itself one: by that it can be declared."""
    line = " ".join(command)
    has_own_name = name and not (command and Path(command[0]).name.startswith(name))
    return f"PID {pid}: {f'{name}: {line}' if line and has_own_name else line or name}"
