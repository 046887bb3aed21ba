"""The time that importing a DAG file takes, part by part; what is inside another part does not count twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class ImportTimes:
    """The parts of a time: a finder of imports that finds what the others find, and times each module.

    ``parts`` has the seconds of each part, by its name.
    """

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._inside: list[float] = []
        self._is_looking = False

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure the modules that are imported within the block."""
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure the block as one part, without the parts that are inside it.

        :param name: the name of the part.
        """
        started = time.perf_counter()
        self._inside.append(0.0)
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            inside = self._inside.pop()
            self.parts[name] = self.parts.get(name, 0.0) + taken - inside
            if self._inside:
                self._inside[-1] += taken

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find, and have its execution timed.

        :param name: the full name of the module.
        :param path: where to look.
        :param target: the module that is loaded anew.
        """
        if self._is_looking:
            return None
        self._is_looking = True
        try:
            spec = self._found(name, path, target)
        finally:
            self._is_looking = False
        if spec is not None and spec.loader is not None:
            self._time(spec.loader, f"import {name.partition('.')[0]}")
        return spec

    def _found(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if finder is self or find is None else find(name, path, target)
            if spec is not None:
                return spec
        return None

    def _time(self, loader: Any, name: str) -> None:
        execute = getattr(loader, "exec_module", None)
        # Loaders of what is built into Python are classes, and quick.
        if isinstance(loader, type) or execute is None:
            return

        def timed(module: ModuleType) -> None:
            with self.part(name):
                execute(module)

        try:
            loader.exec_module = timed
        except AttributeError:
            return  # a loader of its own kind: its time belongs to the part around it
