"""A contender as its function sees it, and the process of a contender that ``cosmos_race(function)`` starts."""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pytest_cosmos_venv.environments.virtualenv_dirs import foreign_directories_refused
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.whole_writes import write_whole
from pytest_cosmos_venv.races.meeting import Meeting, contender_name
from pytest_cosmos_venv.races.spans import ACTOR_VARIABLE, EventLog
from pytest_cosmos_venv.races.timeline import Timeline

RUNTIME_VARIABLE = "XDG_RUNTIME_DIR"
"""Names the folder in which services of a user keep their sockets."""
STACK_SIGNAL = signal.SIGQUIT
WHERE = "(most recent call first)"
"""A part of the stack that a contender prints after the signal ``STACK_SIGNAL``."""
TASK = "task"
"""Name of the span from a contender's start to its end."""
BARRIER_TIMEOUT = 30.0
ONCE_TIMEOUT = 120.0


class Contender:
    """One contender, a process of its own: the first argument of every function that races.

    In a test marked ``cosmos_race`` it is the fixture ``cosmos_race``.

    :param index: 0 for the first contender.
    :param count: number of contenders.
    :param folder: the folder that all contenders share.
    :param meeting: where the contenders meet; None in an exploration, where contenders do not meet.
    :param log: has ``span`` and ``point``; None: the events of the meeting, if there is one.
    """

    def __init__(
        self, index: int, count: int, folder: Path, *, meeting: Meeting | None = None, log: Any = None
    ) -> None:
        self.index = index
        """0 for the first."""
        self.count = count
        """The number of contenders."""
        self.name = contender_name(index)
        """The contender's name in the timeline and in messages: ``contender-0``."""
        self.folder = folder
        """A folder that all contenders of this race share, and no other race; a new one for each explored schedule."""
        self._meeting = meeting
        self._log = EventLog(meeting.events, actor=self.name) if log is None and meeting is not None else log
        self._visits: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<{self.name} of {self.count}>"

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Let the block appear under this name in the timeline.

        :param name: the name of the span.
        """
        with nullcontext() if self._log is None else self._log.span(name):
            yield

    def point(self, name: str) -> None:
        """Add an event to the timeline. A race with this name as ``kill_at`` kills here.

        :param name: the name of the event.
        """
        if self._log is not None:
            self._log.point(name)

    def barrier(self, name: str, *, timeout: float = BARRIER_TIMEOUT) -> None:
        """Wait until all contenders have come here. A name may be used again, as in a loop.

        :param name: the name of the barrier.
        :param timeout: seconds that this contender waits.
        :raises pytest.fail.Exception: with the contenders that are missing: at once when one of them has ended, else
            after ``timeout``.
        """
        __tracebackhide__ = True
        visit = self._visits[name]
        self._visits[name] += 1
        with self.span(f"barrier {name}"):
            place = f"barrier {visit} {name}"
            self._met.wait_for_all(place, self.index, what=f"barrier {name!r}", timeout=timeout)

    def once(self, name: str, factory: Callable[[], Any], *, timeout: float = ONCE_TIMEOUT) -> Any:
        """Return the value of ``factory()``, which only the first contender here calls.

        When this contender dies or the factory raises, the next contender calls the factory: make it restartable.

        :param name: the unique name of the value.
        :param factory: returns a path or a value that JSON can hold.
        :param timeout: seconds to wait while another contender makes the value.
        """
        return self._met.once(name, factory, timeout=timeout)

    @property
    def timeline(self) -> Timeline:
        """All events of the contenders so far. After a barrier, all events before the barrier are in the timeline."""
        return Timeline.read(self._met.events)

    @property
    def _met(self) -> Meeting:
        if self._meeting is None:
            raise ToolkitMisuse(
                "Contenders that are explored go on one at a time: there is no barrier, no once and no timeline for "
                "them. The timeline of a schedule is that of its run, which `check` gets."
            )
        return self._meeting


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


def _is_found_at(name: str, file: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()


@dataclass(frozen=True, kw_only=True)
class RaceOrder:
    """One race, as its contenders need to know it.

    :param meeting: where they meet; its folder holds outputs and outcomes too.
    :param directory: the current directory of the contenders.
    :param variables: all of their environment.
    :param modules: modules that define the functions; they are imported before ``work`` is unpickled.
    :param work: the functions, one for each contender, and their arguments, pickled.
    :param kill_at: the contenders' own point at which the first one there kills itself; None: at none.
    :param services: patterns of processes that stay by design.
    :param plain: whether only plain data is accepted as the values of contenders.
    """

    meeting: Meeting
    directory: str
    variables: Mapping[str, str]
    modules: tuple[ModuleAt, ...]
    work: bytes
    kill_at: str | None
    services: tuple[str, ...]
    plain: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the contenders."""
        return tuple(map(contender_name, range(self.meeting.count)))

    def output_of(self, index: int) -> Path:
        """Return the file in which a contender's standard streams end.

        :param index: the index of the contender, from 0.
        """
        return self.meeting.folder / f"{index}.out"

    def outcome_of(self, index: int) -> Path:
        """Return the file with a contender's pickled ``ContenderResult``; it is there once the function is done.

        :param index: the index of the contender, from 0.
        """
        return self.meeting.folder / f"{index}.outcome"

    def claim_of(self, point: str) -> Path:
        """Return the file that names the contender which was killed at a point of its own.

        :param point: name of the point.
        """
        return self.meeting.folder / f"{point.encode().hex()}.claim"


@dataclass(frozen=True, kw_only=True)
class ContenderResult:
    """The result of a contender's function, which the contender writes when the function has ended.

    :param value: the value that the function returned, pickled; None: it returned none.
    :param error: type and text of the exception, or None.
    :param traceback: the traceback of the exception, or None.
    """

    value: bytes | None = None
    error: str | None = None
    traceback: str | None = None


class _Racing(Contender):
    """A contender of ``cosmos_race(function)``, which is killed at a point where the race says so.

    :param order: the race.
    :param index: 0 for the first contender.
    """

    def __init__(self, order: RaceOrder, index: int) -> None:
        super().__init__(index, order.meeting.count, order.meeting.shared, meeting=order.meeting)
        self._order = order

    def point(self, name: str) -> None:
        super().point(name)
        if name == self._order.kill_at and self._is_first_at(name):
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first_at(self, name: str) -> bool:
        """Whether this contender is the first at the point: only the first one is killed, once."""
        try:
            with self._order.claim_of(name).open("x", encoding="utf-8") as claim:
                claim.write(self.name)
        except FileExistsError:
            return False
        return True


def compete(order: RaceOrder, index: int, ready: int, start: int) -> NoReturn:
    """Run a contender from the fork to its exit.

    :param order: the race.
    :param index: 0 for the first contender.
    :param ready: file descriptor that the contender closes when it is ready to start.
    :param start: file descriptor that reaches EOF when the race begins.
    """
    code = 1
    try:
        _take_place(order, index)
        with foreign_directories_refused():
            code = _work(order, index, ready, start)
    except BaseException:  # noqa: BLE001 - nothing may get back into the process that was forked
        traceback.print_exc()
    finally:
        flush()
        os._exit(code)


def _take_place(order: RaceOrder, index: int) -> None:
    """Set up streams, environment and current directory as in a process that the test itself has just started."""
    file = os.open(order.output_of(index), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (file, 1), (file, 2)):
        os.dup2(source, target)
    for stream in (sys.stdout, sys.stderr):
        # Line buffering keeps the output of a contender that is killed.
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update({**order.variables, ACTOR_VARIABLE: contender_name(index)})
    os.chdir(order.directory)
    tempfile.tempdir = None
    # When the time of the race is over, this signal makes the contender print its stack.
    faulthandler.register(STACK_SIGNAL)


def _work(order: RaceOrder, index: int, ready: int, start: int) -> int:
    contender = _Racing(order, index)
    order.meeting.introduce(index)
    try:
        for module in order.modules:
            module.load()
        functions, arguments = pickle.loads(order.work)  # noqa: S301 - the test's own process made it
        os.close(ready)
        os.read(start, 1)
        with contender.span(TASK):
            value = functions[index](contender, *arguments)
        _leave(order, index, ContenderResult(value=_pickled(value)))
    except BaseException as error:  # noqa: BLE001 - every exception is the contender's outcome
        # The frame of this function at the top of the traceback is of no use to the reader.
        own = error.__traceback__.tb_next if error.__traceback__ is not None else None
        lines = traceback.format_exception(type(error), error, own)
        _leave(order, index, ContenderResult(error=f"{type(error).__name__}: {error}", traceback="".join(lines)))
        return _exit_code(error)
    return 0


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - pickling raises whatever the object does
        raise TypeError(
            f"the contender returned a {type(value).__name__}, which cannot be handed to the test's process "
            f"({error}): return plain data"
        ) from None


def _leave(order: RaceOrder, index: int, result: ContenderResult) -> None:
    write_whole(order.outcome_of(index), pickle.dumps(result))


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def flush() -> None:
    """Flush the standard streams, even when the function has replaced them by other objects."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001, S112 - a stream of the test may raise what it likes
            continue
