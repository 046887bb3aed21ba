"""The process of one contender of an exploration, from the fork to its end."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from pytest_cosmos_venv.explore.stepping import (
    ENDS,
    GivenUp,
    Stepper,
    TooManySteps,
    become,
    receive,
    stepper,
)
from pytest_cosmos_venv.explore.steps import WRITE, Places
from pytest_cosmos_venv.explore.virtual_clock import seed_random, take_clock
from pytest_cosmos_venv.processes.descendants import die_with_parent
from pytest_cosmos_venv.races.contender import Contender, flush

_TOOLKIT = str(Path(__file__).parent.parent)
NEVER_ENDS = "never ends"
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
    """Run a contender in one schedule, from the fork to the end of its process.

    :param work: its function.
    :param index: 0 for the first.
    :param count: number of contenders.
    :param root: the explored folder.
    :param channel: leads to the process that directs it.
    :param most_steps: the number of steps after which it counts as endless.
    :param may_raise: the exceptions with which it may end.
    """
    code = 1
    try:
        die_with_parent()
        pids, times = receive(channel)
        seed_random(index)
        steps = Stepper(index, Places(root, pids), channel, most_steps=most_steps, started_at=take_clock(times))
        become(steps)
        outcome = _work(work, Contender(index, count, Path(root), log=StepLog()), may_raise)
        steps.report(ENDS, "end", "end", outcome)
        receive(channel)  # the permission to end
        become(None)
        code = 0
    except GivenUp:
        pass  # the schedule is given up
    except BaseException:  # noqa: BLE001 - nothing may get back into the process that was forked
        traceback.print_exc()
    finally:
        flush()
        os._exit(code)


def _work(
    work: Callable[[Contender], object], contender: Contender, may_raise: tuple[type[BaseException], ...]
) -> bytes:
    """Return the outcome of the work, pickled: value, exception, traceback, and how it ended without these."""
    try:
        value = work(contender)
    except TooManySteps:
        return pickle.dumps((None, None, None, NEVER_ENDS))
    except GivenUp:
        raise
    except BaseException as error:  # noqa: BLE001 - the test hears of it
        text = f"{type(error).__name__}: {error}".replace(f"{contender.folder}/", "")
        told = "" if isinstance(error, may_raise) else "".join(traceback.format_list(own_frames(error)))
        return pickle.dumps((None, text, told, ""))
    try:
        return pickle.dumps((value, None, None, ""))
    except Exception:  # noqa: BLE001 - whatever pickle raises: a lambda, an open file
        return pickle.dumps((None, None, None, ""))


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of an error's traceback outside the toolkit.

    :param error: the error.
    """
    return [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_TOOLKIT)]


def _mark(kind: str, name: str) -> None:
    here = stepper()
    if here is not None:
        touched = ((f"span:{name}", WRITE),)
        here.perform(kind, f"{kind} {name}", lambda: None, lambda: (touched, touched))
