"""Messages between the processes of a race: plain data. The work itself goes as a file that contenders read."""

from __future__ import annotations

import importlib
import importlib.util
import io
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
    """A module and its file: test files can often not be imported by their name alone.

    :param name: the module's name, as ``sys.modules`` has it.
    :param file: path of its file; None: it is imported by its name.
    """

    name: str
    file: str | None

    def load(self) -> None:
        """Make ``sys.modules`` hold the module under this name.

        :raises ImportError: it is not there, or its file is no Python file.
        """
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
    """A signal that a contender sends to itself when it is the first to report a point.

    :param signal: number of the signal that it sends itself.
    :param victim: index of the only contender that is meant; None: the first that comes there.
    """

    signal: int
    victim: int | None


@dataclass(frozen=True, kw_only=True)
class RaceOrder:
    """One race, as its contenders need to know it.

    :param folder: the folder of the race: outputs, outcomes, events.
    :param names: the names of the contenders.
    :param sys_path: ``sys.path`` of the test's process, for contenders that start an interpreter.
    :param directory: the current directory of the contenders.
    :param variables: all of their environment.
    :param fresh: whether each contender starts an interpreter of its own.
    :param modules: modules that define the work; they are imported before it is unpickled.
    :param work: pickled ``Work``.
    :param acts: name of a contender's own point -> what happens there.
    :param services: patterns of processes that stay by design.
    :param plain: whether of what contenders return plain data alone is taken in.
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
    plain: bool = False

    def output_of(self, index: int) -> Path:
        """The file in which a contender's standard streams end.

        :param index: the index of the contender, from 0.
        """
        return self.folder / f"{self.names[index]}.out"

    def outcome_of(self, index: int) -> Path:
        """The file with a contender's pickled ``Result``; it is there once the work is done.

        :param index: the index of the contender, from 0.
        """
        return self.folder / f"{self.names[index]}.outcome"

    def claim_of(self, point: str) -> Path:
        """The file that names the contender which was stopped or killed at a point of its own.

        :param point: name of the point.
        """
        return self.folder / f"{point.encode().hex()}.claim"

    @property
    def file(self) -> Path:
        """The file of the order itself, for a contender that starts as an interpreter."""
        return self.folder / "order.pickle"

    def save(self) -> None:
        """Write the order into the race's folder."""
        self.file.write_bytes(pickle.dumps(self))


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of a race, one function for each contender.

    :param functions: called with the ``Contender`` and the arguments.
    :param arguments: plain data, the same for all contenders.
    """

    functions: Sequence[Callable[..., Any]]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a contender's work, which it leaves when it comes to its end.

    :param value: what its function returned, pickled.
    :param error: type and text of what it raised, or None.
    :param traceback: the same at length.
    """

    value: bytes | None = None
    error: str | None = None
    traceback: str | None = None


def unpickled(data: bytes, *classes: Any) -> Any:
    """The object of a pickle from a process that is not trusted: plain data, and objects of these classes.

    :param data: the pickle.
    :param *classes: what may be made beside plain data, or called for it.
    :raises pickle.UnpicklingError: it names something else, which is not imported; or it is no pickle.
    """
    return _OnlyThese(data, classes).load()


class _OnlyThese(pickle.Unpickler):
    def __init__(self, data: bytes, classes: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._known = {(each.__module__, each.__qualname__): each for each in classes}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return self._known[module, name]
        raise pickle.UnpicklingError(f"{module}.{name} is no plain data")


def _is_found_at(name: str, file: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()
