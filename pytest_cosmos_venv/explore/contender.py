"""The process of one contender of an exploration: its whole life, and how it ends."""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from pytest_cosmos_venv.explore.stepping import (
    ENDS,
    GivenUp,
    Killed,
    Stepper,
    TooManySteps,
    become,
    has_child_or_thread,
    receive,
    send,
    stepper,
)
from pytest_cosmos_venv.explore.steps import WRITE, Places
from pytest_cosmos_venv.explore.virtual_clock import seed_random, take_clock
from pytest_cosmos_venv.processes.descendants import die_with_parent
from pytest_cosmos_venv.races.contender import Contender, flush

_TOOLKIT = str(Path(__file__).parent.parent)
RETURNED, RAISED, NEVER_ENDS = "returned", "raised", "never ends"
BEGIN, END, POINT = "begin", "end", "point"
"""Names of the steps of spans and points."""


class StepLog:
    """Spans and points as steps of their own: the log of a contender that is explored."""

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Let the block appear under this name in the timeline. It begins and ends in steps of their own.

        :param name: the name of the span.
        """
        _mark(BEGIN, name)
        try:
            yield
        finally:
            _mark(END, name)

    def point(self, name: str) -> None:
        """Let an event appear in the timeline. It is a step of its own.

        :param name: the name of the event.
        """
        _mark(POINT, name)


@dataclass(frozen=True)
class ExploredOutcome:
    """What became of one contender in one schedule.

    :param name: of the contender.
    :param how: ``returned``, ``raised``, ``killed``, ``died``, or ``waits`` where it could not go on.
    :param value: what its function returned; None where it did not, or where that cannot be pickled.
    :param error: type and text of the exception; empty where it raised none.
    :param traceback: of that exception; empty where it was to be expected.
    """

    name: str
    how: str
    value: Any = None
    error: str = ""
    traceback: str = ""

    def __str__(self) -> str:
        if self.how == RETURNED:
            return f"returned {self.value!r}"
        return f"raised {self.error}" if self.how == RAISED else self.how


def compete(
    work: Callable[[Contender], object],
    index: int,
    count: int,
    root: str,
    channel: Connection,
    *,
    most_steps: int,
    may_raise: tuple[type[BaseException], ...],
) -> NoReturn:
    """Live the whole life of a contender, from the fork on: one schedule, and others where it is told to stay.

    :param work: its function.
    :param index: 0 for the first.
    :param count: number of contenders.
    :param root: the explored folder.
    :param channel: leads to the process that directs it.
    :param most_steps: the number of steps after which it counts as one that never ends.
    :param may_raise: the exceptions with which it may end.
    """
    code = 1
    try:
        die_with_parent()
        kept = _open_descriptors()
        is_to_stay = True
        while is_to_stay:
            pids, times = receive(channel)
            places = Places(root, pids)
            seed_random(index)
            contender = Stepper(index, places, channel, most_steps=most_steps, started_at=take_clock(times))
            become(contender)
            explored = Contender(index, count, Path(root), log=StepLog())
            outcome = _work(work, contender, explored, may_raise)
            if not contender.is_over:
                contender.report(ENDS, "end", "end", outcome)
                is_to_stay = receive(channel)
            # A killed one has looked before it left its function, and could start none on its way out.
            can_stay = is_to_stay and (contender.is_over or not has_child_or_thread())
            if can_stay:
                # A finaliser in a cycle (an open file, a TemporaryDirectory) would else run in a later schedule.
                contender.leave()
                gc.collect()
            become(None)
            if can_stay:
                _close_all_but(kept)
            if is_to_stay:
                flush()
                send(channel, can_stay)
            is_to_stay = can_stay
        code = 0
    except GivenUp:
        pass  # the schedule is given up
    except BaseException:  # noqa: BLE001 - nothing may get back into the process that was forked
        traceback.print_exc()
    finally:
        flush()
        os._exit(code)


def _listed_descriptors() -> set[int]:
    """The open descriptors of this process, and that by which they were listed."""
    return {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - in each schedule: a path takes longer


def _open_descriptors() -> set[int]:
    found = _listed_descriptors()
    for descriptor in list(found):
        try:
            os.fstat(descriptor)
        except OSError:
            found.discard(descriptor)
    return found


def _close_all_but(kept: set[int]) -> None:
    """Close what a function has left open, as the end of its process would: files, copies, sockets, pipes."""
    for descriptor in _listed_descriptors() - kept:
        try:
            os.close(descriptor)
        except OSError:
            continue


def _work(
    work: Callable[[Contender], object],
    steps: Stepper,
    contender: Contender,
    may_raise: tuple[type[BaseException], ...],
) -> bytes:
    """What becomes of the work, pickled; nothing where it was killed, however it was left then."""
    try:
        value = work(contender)
    except TooManySteps:
        return pickle.dumps((NEVER_ENDS, None, "", ""))
    except GivenUp:
        raise
    except Killed:
        return b""
    except BaseException as error:  # noqa: BLE001 - the test hears of it
        if steps.is_over:
            return b""
        text = f"{type(error).__name__}: {error}".replace(f"{contender.folder}/", "")
        told = "" if isinstance(error, may_raise) else _own_lines(error)
        return pickle.dumps((RAISED, None, text, told))
    if steps.is_over:
        return b""
    try:
        return pickle.dumps((RETURNED, value, "", ""))
    except Exception:  # noqa: BLE001 - whatever pickle raises: a lambda, an open file
        return pickle.dumps((RETURNED, None, "", ""))


def _own_lines(error: BaseException) -> str:
    """The traceback of an error, without the lines of the toolkit."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_TOOLKIT)]
    return "".join(traceback.format_list(frames))


def _mark(kind: str, name: str) -> None:
    here = stepper()
    if here is not None:
        touched = ((f"span:{name}", WRITE),)
        here.perform(kind, f"{kind} {name}", lambda: None, lambda: (touched, touched))


def tell_where_on_signal(file: Any) -> None:
    """Let SIGQUIT write the tracebacks of a contender, which is forked from this process, to a file.

    :param file: open for writing.
    """
    faulthandler.register(signal.SIGQUIT, file=file, all_threads=True)
