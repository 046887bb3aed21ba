"""The process of one contender: it takes its place, waits for the start, does its work, and writes down what came of
it.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pytest_cosmos_venv.environments.virtualenv_dirs import foreign_directories_refused
from pytest_cosmos_venv.races.event_log import ACTOR_VARIABLE, EventLog
from pytest_cosmos_venv.races.messages import EVENTS, RaceOrder, Result, Work

WHERE_ARE_YOU = signal.SIGQUIT
WHERE = "(most recent call first)"
"""Stands in what a contender answers."""

TASK = "task"
"""Name of the span from a contender's start to its end."""

START_INTERPRETER = (
    "import sys; index, ready, start = map(int, sys.argv[2:5]); sys.path[:] = sys.argv[5:]; "
    "from pytest_cosmos_venv.races.contender import start_fresh; start_fresh(sys.argv[1], index, ready, start)"
)


class Contender:
    """One of those that race, as its own work sees it: the first argument of every function that races.

    :param order: the race.
    :param index: 0 for the first contender.
    """

    def __init__(self, order: RaceOrder, index: int) -> None:
        self._order = order
        self._log = EventLog(order.folder / EVENTS, actor=order.names[index])
        self.index = index
        """0 for the first."""
        self.count = len(order.names)
        """The number of contenders."""
        self.name = order.names[index]
        """The contender's name in the timeline and in messages: ``contender-0``."""

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Let the block appear under this name in the timeline.

        :param name: the name of the span.
        """
        with self._log.span(name):
            yield

    def point(self, name: str) -> None:
        """Let an event appear in the timeline. Where the race says ``kill_at`` or ``stop_at`` this name, it happens
        here.

        :param name: the name of the event.
        """
        self._log.point(name)
        act = self._order.acts.get(name)
        if act is not None and act.victim in {None, self.index} and self._is_first_at(name):
            os.kill(os.getpid(), act.signal)

    def _is_first_at(self, name: str) -> bool:
        """Whether this contender is the first at the point. Only one is stopped or killed, and only once."""
        try:
            with self._order.claim_of(name).open("x", encoding="utf-8") as claim:
                claim.write(self.name)
        except FileExistsError:
            return False
        return True


def start_fresh(order_file: str, index: int, ready: int, start: int) -> NoReturn:
    """The whole life of a contender that began as an interpreter.

    :param order_file: file of the pickled ``RaceOrder``.
    :param index: 0 for the first contender.
    :param ready: descriptor that is closed when the contender is ready to start.
    :param start: descriptor that is at its end when the race begins.
    """
    order: RaceOrder = pickle.loads(Path(order_file).read_bytes())  # noqa: S301 - the test's own process wrote it
    compete(order, index, ready, start)


def compete(order: RaceOrder, index: int, ready: int, start: int) -> NoReturn:
    """The whole life of a contender, from the fork on.

    :param order: the race.
    :param index: 0 for the first contender.
    :param ready: descriptor that is closed when the contender is ready to start.
    :param start: descriptor that is at its end when the race begins.
    """
    code = 1
    try:
        _take_place(order, index)
        with foreign_directories_refused():
            code = _work(order, index, ready, start)
    except BaseException:  # noqa: BLE001 - nothing may get back into the process that was forked
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _take_place(order: RaceOrder, index: int) -> None:
    """Look, from here on, like a process that the test itself has just started."""
    _redirect(order.output_of(index))
    os.environ.clear()
    os.environ.update({**order.variables, ACTOR_VARIABLE: order.names[index]})
    os.chdir(order.directory)
    tempfile.tempdir = None
    # When its time is over the race asks with this signal where a contender is.
    faulthandler.register(WHERE_ARE_YOU)


def _redirect(output: Path) -> None:
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    for stream in (sys.stdout, sys.stderr):
        # What a contender says before it is killed is to be read.
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _work(order: RaceOrder, index: int, ready: int, start: int) -> int:
    contender = Contender(order, index)
    try:
        for module in order.modules:
            module.load()
        work: Work = pickle.loads(order.work)  # noqa: S301 - the test's own process made it
        os.close(ready)
        os.read(start, 1)
        with contender.span(TASK):
            value = work.functions[index](contender, *work.arguments)
        _leave(order, index, Result(value=_pickled(value)))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the contender's outcome
        _leave(order, index, Result(error=f"{type(error).__name__}: {error}", traceback=_traceback(error)))
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


def _leave(order: RaceOrder, index: int, result: Result) -> None:
    place = order.outcome_of(index)
    draft = place.with_suffix(".draft")  # renamed when it is whole: a contender may be killed while it writes
    draft.write_bytes(pickle.dumps(result))
    draft.replace(place)


def _traceback(error: BaseException) -> str:
    """The traceback of an error, without our own frame at its top."""
    own = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, own.tb_next if own is not None else None))


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the work has closed it
            continue
