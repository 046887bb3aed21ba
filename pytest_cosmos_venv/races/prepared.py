"""The test's side of a race's supervisor, and the prepared processes from which supervisors and contenders are forked.

There is one prepared process for each set of imports and Airflow settings; the last two processes are kept.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races import supervisor
from pytest_cosmos_venv.races.contender import ModuleAt, RaceOrder
from pytest_cosmos_venv.races.result import unpickled

_LONGEST_FAREWELL = 20.0
_GONE = "The process that looks after the contenders of this race is gone: something has killed it."
_OVER = "This race is over: signals are for contenders of one that goes on."
TIMEOUT = 600.0
"""Seconds that the imports may take. A busy machine was seen to take two minutes for Airflow."""
_ENDS_SOON = 5.0
_MOST = 2  # each holds an imported Airflow in memory


class SupervisorLink:
    """The contenders of one race as their supervisor knows them.

    :param connection: the connection to the supervisor; closing it ends the race and all its processes.
    :param count: number of the contenders.
    """

    def __init__(self, connection: Connection, count: int) -> None:
        self._connection = connection
        self._count = count
        self.pids: list[int] = []
        self.is_ready = False
        self.has_begun = False
        self.is_gone = False
        self.deaths: dict[int, tuple[int, float]] = {}  # index -> exit code (negative: signal), when
        self.left_behind: tuple[str, ...] = ()
        self.services: tuple[str, ...] = ()
        self._is_over = False

    @property
    def running(self) -> tuple[int, ...]:
        """Indexes of the contenders whose end has not been told."""
        return tuple(index for index in range(self._count) if index not in self.deaths)

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._connection.closed

    def is_over(self) -> bool:
        """Return whether nothing of the race runs any more."""
        # A method, because mypy assumes that ``listen`` does not change an attribute.
        return self._is_over

    def listen(self, seconds: float) -> None:
        """Process the messages of the supervisor; wait for the first message only.

        :param seconds: the longest wait for the first message.
        :raises ToolkitMisuse: when the supervisor is gone.
        """
        try:
            # Not ``poll`` of the connection: with a clock that a test has frozen it would wait for ever.
            while select.select([self._connection], [], [], seconds)[0]:
                self._take(*unpickled(self._connection.recv_bytes()))
                seconds = 0.0
        except (EOFError, OSError):
            if not self.is_over():
                self.is_gone = True
                raise ToolkitMisuse(_GONE) from None

    def go(self) -> None:
        """Tell the supervisor to start the race. ``has_begun`` becomes true when the supervisor has done so."""
        self._say(supervisor.GO)

    def signal(self, index: int, number: signal.Signals, *, tree: bool) -> None:
        """Send a signal to a contender, if it still runs.

        :param index: the index of the contender, from 0.
        :param number: the signal.
        :param tree: whether all descendants of the contender get the signal too.
        :raises ToolkitMisuse: there is no such contender, or the race is over.
        """
        if index not in range(self._count):
            raise ToolkitMisuse(f"There is no contender {index}: they are 0 to {self._count - 1}.")
        self._say(supervisor.SIGNAL, index, int(number), int(tree))

    def finish(self, *, grace: float) -> None:
        """End all processes that are left after ``grace`` seconds and wait for their end. A second call does nothing.

        :param grace: seconds in which processes that contenders have left running may end by themselves.
        :raises ToolkitMisuse: when the supervisor is gone, or cannot end the processes.
        """
        if self.is_over():
            return
        self._say(supervisor.FINISH, grace)
        end = real_time.monotonic() + grace + _LONGEST_FAREWELL
        while not self.is_over() and real_time.monotonic() < end:
            self.listen(0.05)
        if not self.is_over():
            raise ToolkitMisuse(f"What contenders have left running could not be ended in {_LONGEST_FAREWELL:g} s.")

    def close(self) -> None:
        """Close the connection: the supervisor, if it is still there, ends everything."""
        self._connection.close()

    def _say(self, *words: object) -> None:
        if self.is_over() or self._connection.closed:
            raise ToolkitMisuse(_OVER)
        try:
            self._connection.send(words)
        except OSError:
            self.is_gone = True
            raise ToolkitMisuse(_GONE) from None

    def _take(self, word: str, *rest: object) -> None:
        if word == supervisor.FORKED:
            (self.pids,) = rest  # type: ignore[assignment]
        elif word == supervisor.READY:
            self.is_ready = True
        elif word == supervisor.BEGUN:
            self.has_begun = True
        elif word == supervisor.ENDED:
            index, exit_code, at = rest
            self.deaths[index] = (exit_code, at)  # type: ignore[index, assignment]
        elif word == supervisor.FINISHED:
            self.left_behind, self.services = rest  # type: ignore[assignment]
            self._is_over = True


class PreparedProcess:
    """A process that has imported ``modules`` and forks a supervisor for each race.

    :param modules: the modules to import.
    :param log: file for the output of the process and of its supervisors.
    :param variables: all environment variables of the process.
    :raises ToolkitMisuse: the modules cannot be imported in time, or their import makes a fork unsafe.
    """

    def __init__(self, modules: tuple[ModuleAt, ...], log: Path, variables: Mapping[str, str]) -> None:
        self._log = log
        self._connection, other = Pipe()
        with other, log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", supervisor.START_SERVER, str(other.fileno()), *sys.path],
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

    def fork_supervisor(self, order: RaceOrder) -> SupervisorLink:
        """Begin a race, and return the link to its supervisor.

        :param order: the race.
        :raises ToolkitMisuse: this process was killed since it was seen alive.
        """
        own, other = Pipe()
        with other:
            try:
                self._connection.send(order)
                send_handle(self._connection, other.fileno(), self._process.pid)
            except (OSError, RuntimeError):  # RuntimeError on macOS, where the handle is acknowledged
                own.close()
                raise ToolkitMisuse(_GONE) from None
        return SupervisorLink(own, order.meeting.count)

    def close(self) -> None:
        """End the process. Races that still run end by themselves."""
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
            if not select.select([self._connection], [], [], TIMEOUT)[0]:
                raise ToolkitMisuse(
                    f"cosmos_race: importing {names} took more than {TIMEOUT:.0f} s. Either the machine is busy, or a "
                    f"module waits for something. Output: {self._log.read_text(errors='replace')[-500:] or 'none'}"
                )
            wrong: str | None = unpickled(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise ToolkitMisuse(
                f"cosmos_race: the process that imports {names} for the contenders has died ({self._log})."
            ) from None
        if wrong is not None:
            raise ToolkitMisuse(
                f"cosmos_race: contenders cannot be forked from a process with {names}: {wrong}. "
                "Import it inside the function that races."
            )


@dataclass
class PreparedProcesses:
    """The prepared processes that were used last: an Airflow costs seconds to import and much memory to keep.

    :param folder: an existing folder for logs.
    :param changes: called before each race; returns the variables that differ from this process's environment, None for
        a variable that is unset.
    """

    folder: Path
    changes: Callable[[], Mapping[str, str | None]]
    _kept: dict[object, PreparedProcess] = field(default_factory=dict)
    _count: int = field(default=0)

    def get(self, modules: tuple[ModuleAt, ...]) -> PreparedProcess:
        """Return a process that has imported these modules, under the settings of Airflow that hold now.

        :param modules: the modules that the contenders need.
        """
        # Airflow reads its home and its database settings when it is imported.
        variables = self.variables()
        settings = tuple(sorted((name, value) for name, value in variables.items() if name.startswith("AIRFLOW")))
        written_at = tuple(Path(module.file).stat().st_mtime_ns for module in modules if module.file is not None)
        key = (frozenset(modules), settings, tuple(sys.path), written_at)
        kept = self._kept.pop(key, None)
        if kept is not None and not kept.is_alive:
            kept.close()
            kept = None
        if kept is None:
            # Two are kept: a test with its own settings does not evict the process of the tests around it.
            while len(self._kept) >= _MOST:
                self._kept.pop(next(iter(self._kept))).close()
            self._count += 1
            kept = PreparedProcess(modules, self.folder / f"prepared-{self._count}.log", variables)
        self._kept[key] = kept
        return kept

    def variables(self) -> dict[str, str]:
        """Return all of a contender's environment."""
        given: dict[str, str | None] = {**os.environ, **self.changes()}
        return {name: value for name, value in given.items() if value is not None}

    def close(self) -> None:
        """End the prepared processes."""
        while self._kept:
            self._kept.popitem()[1].close()
