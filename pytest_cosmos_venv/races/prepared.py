"""Which process do contenders fork from? One for each set of imports and Airflow settings, the last two kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races.orders import ModuleAt, RaceOrder
from pytest_cosmos_venv.races.server import START_SERVER

DEADLINE = 120.0
"""Seconds that the imports may take."""
_ENDS_SOON = 5.0
_MOST = 2
_OF_THE_PARENT: list[object] = []


class PreparedProcess:
    """A process that has imported ``modules`` and forks a marshal for each race.

    :param log: file for what it and its marshals write.
    :param variables: all of its environment.
    """

    def __init__(self, modules: tuple[ModuleAt, ...], log: Path, variables: Mapping[str, str]) -> None:
        self._log = log
        self._connection, other = Pipe()
        with other, log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START_SERVER, str(other.fileno()), *sys.path],
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[other.fileno()],
                start_new_session=True,  # Ctrl-C is for the test, which then ends its races
            )
        try:
            self._prepare(modules)
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it can fork."""
        return self._process.poll() is None

    def fork_marshal(self, order: RaceOrder) -> Connection:
        """Begin a race; returns the connection to its marshal."""
        own, other = Pipe()
        with other:
            self._connection.send(order)
            send_handle(self._connection, other.fileno(), self._process.pid)
        return own

    def close(self) -> None:
        """End it. Races that still run end by themselves."""
        self._connection.close()
        try:
            self._process.wait(_ENDS_SOON)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _prepare(self, modules: tuple[ModuleAt, ...]) -> None:
        names = ", ".join(module.name for module in modules)
        try:
            self._connection.send(modules)
            if not self._connection.poll(DEADLINE):
                raise ToolkitMisuse(
                    f"cosmos_task_race: importing {names} took more than {DEADLINE:.0f} s ({self._log})."
                )
            wrong: str | None = self._connection.recv()
        except (EOFError, OSError):
            raise ToolkitMisuse(
                f"cosmos_task_race: the process that imports {names} for the contenders has died ({self._log})."
            ) from None
        if wrong is not None:
            raise ToolkitMisuse(
                f"cosmos_task_race: contenders cannot be forked from a process with {names}: {wrong}. "
                "Import it inside the function that races, or start interpreters with fresh=True."
            )


@dataclass
class PreparedProcesses:
    """The prepared processes that were used last: an Airflow costs seconds to import and much memory to keep.

    :param folder: an existing one for logs.
    :param changes: asked before each race: what differs from this process's environment; None: is unset.
    """

    folder: Path
    changes: Callable[[], Mapping[str, str | None]]
    _kept: dict[object, PreparedProcess] = field(default_factory=dict)
    _count: int = field(default=0)
    _process: int = field(default_factory=os.getpid)

    def get(self, modules: tuple[ModuleAt, ...]) -> PreparedProcess:
        """One that has imported these, under the settings of Airflow that hold now."""
        self._forget_those_of_the_parent()
        # Airflow settles on its home and its database when it is imported.
        variables = self.variables()
        settings = tuple(sorted((name, value) for name, value in variables.items() if name.startswith("AIRFLOW")))
        written_at = tuple(Path(module.file).stat().st_mtime_ns for module in modules if module.file is not None)
        key = (modules, settings, tuple(sys.path), written_at)
        kept = self._kept.pop(key, None)
        if kept is not None and not kept.is_alive:
            kept.close()
            kept = None
        if kept is None:
            # Tests with a setting of their own are few and stand among others: those find theirs again.
            while len(self._kept) >= _MOST:
                self._kept.pop(next(iter(self._kept))).close()
            self._count += 1
            kept = PreparedProcess(modules, self.folder / f"prepared-{os.getpid()}-{self._count}.log", variables)
        self._kept[key] = kept
        return kept

    def _forget_those_of_the_parent(self) -> None:
        """Racers that were forked since would all speak with one process over one connection."""
        if self._process != os.getpid():
            self._process = os.getpid()
            _OF_THE_PARENT.append(dict(self._kept))  # not closed: its connections are the parent's too
            self._kept.clear()

    def variables(self) -> dict[str, str]:
        """All of a contender's environment."""
        given: dict[str, str | None] = {**os.environ, **self.changes()}
        return {name: value for name, value in given.items() if value is not None}

    def close(self) -> None:
        """End them."""
        while self._kept:
            self._kept.popitem()[1].close()
