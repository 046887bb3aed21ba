"""What do the processes of a race tell each other? Plain data; the work itself goes as a file that contenders read."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENTS = "events"
"""Folder of the race's ``EventLog``."""
RUNTIME_VARIABLE = "XDG_RUNTIME_DIR"
"""Names the folder in which services of a user keep their sockets."""


@dataclass(frozen=True, kw_only=True)
class ModuleAt:
    """A module and the file it lies in: test files can often not be imported by their name alone."""

    name: str
    file: str | None

    def load(self) -> None:
        """Make ``sys.modules`` hold it under this name."""
        if self.name in sys.modules:
            return
        if self.file is None or _is_found_at(self.name, self.file):
            importlib.import_module(self.name)
            return
        spec = importlib.util.spec_from_file_location(self.name, self.file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{self.file} is no Python file")
        sys.modules[self.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[self.name])


@dataclass(frozen=True, kw_only=True)
class Act:
    """What the first contender that reaches a point of its own does to itself.

    :param signal: number of the signal it sends itself.
    :param victim: index of the only contender that is meant, or None for whoever is first.
    """

    signal: int
    victim: int | None


@dataclass(frozen=True, kw_only=True)
class RaceOrder:
    """One race, as its contenders need to know it.

    :param folder: of the race: outputs, outcomes, events.
    :param directory: where the contenders work.
    :param variables: all of their environment.
    :param names: of the contenders.
    :param modules: that define the work, imported before it is unpickled.
    :param work: pickled ``Work``.
    :param acts: name of a contender's own point -> what happens there.
    :param services: patterns of processes that stay by design.
    """

    folder: Path
    names: tuple[str, ...]
    sys_path: tuple[str, ...]
    directory: str
    variables: Mapping[str, str]
    fresh: bool
    modules: tuple[ModuleAt, ...]
    work: bytes
    acts: Mapping[str, Act]
    services: tuple[str, ...] = ()

    def output_of(self, index: int) -> Path:
        """What the contender writes to its standard streams."""
        return self.folder / f"{self.names[index]}.out"

    def outcome_of(self, index: int) -> Path:
        """What came of it, pickled; is there once its work is done."""
        return self.folder / f"{self.names[index]}.outcome"

    def claim_of(self, point: str) -> Path:
        """Names the contender that was stopped or killed at this point of its own."""
        return self.folder / f"{point.encode().hex()}.claim"

    @property
    def file(self) -> Path:
        """The order itself, for a contender that starts as an interpreter."""
        return self.folder / "order.pickle"

    def save(self) -> None:
        """Write the order into the race's folder."""
        self.file.write_bytes(pickle.dumps(self))


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done, one function for each contender.

    :param functions: called with the ``Contender`` and the arguments.
    """

    functions: Sequence[Callable[..., Any]]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a contender leaves of its work, when it comes to its end.

    :param value: pickled.
    :param error: type and text of what it raised, or None.
    :param traceback: the same at length.
    """

    value: bytes | None = None
    error: str | None = None
    traceback: str | None = None


def _is_found_at(name: str, file: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()
