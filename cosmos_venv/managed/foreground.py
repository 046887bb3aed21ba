"""Is this process here to build environments (``cosmos-venv env warm``), and where?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Foreground:
    """What ``building_in_foreground`` was told, and the paths of what was built there."""

    directory: Path | None
    report: Callable[[str], None] | None = None
    built: set[Path] = field(default_factory=set)


foreground_builds: ContextVar[Foreground | None] = ContextVar("foreground_builds", default=None)


@contextmanager
def building_in_foreground(
    directory: Path | None = None, report: Callable[[str], None] | None = None
) -> Iterator[set[Path]]:
    """Within this block DAG files that are imported build their environments themselves (``cosmos-venv env warm``).

    :param directory: where, whatever ``virtualenv_dir`` says; the search path does not count then.
    :param report: gets what is said of builds, in place of the log.
    """
    foreground = Foreground(directory=directory, report=report)
    token = foreground_builds.set(foreground)
    try:
        yield foreground.built
    finally:
        foreground_builds.reset(token)
