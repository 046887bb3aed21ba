"""What time is it for the code under test? Frozen or moved, in this process; ``time.sleep`` moves it on."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from types import ModuleType
from typing import Any
from unittest import mock

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow.instants import instant_of
from pytest_cosmos_venv.airflow.time_engines import installed_engine, replaced, utc
from pytest_cosmos_venv.errors import ToolkitMisuse


@dataclass
class _Process:
    """What holds for the whole process: time is shown to all of it.

    :param engaged: the clock that shows another time than the real one.
    :param resting: whether Airflow is at work, which sees the real time.
    """

    engaged: Clock | None = None
    resting: bool = False


_PROCESS = _Process()


class Clock:
    """The clock of a test. It shows the real time until ``freeze`` or ``move`` is called, and again after the test."""

    def __init__(self) -> None:
        self._engine = installed_engine()
        self._engagement = ExitStack()
        # When it stands: the moment. Else how far it is ahead of the real time.
        self._instant: float | None = None
        self._ahead = 0.0
        self._moved = 0.0
        # How the engine shows it just now: None while it does not.
        self._shown_standing: bool | None = None
        self._real_monotonic: Callable[[], float] = real_time.monotonic

    @property
    def now(self) -> datetime:
        """The moment it shows, in UTC."""
        # What the process sees: an engine may cut a microsecond off what it was told.
        return utc(self._seconds()) if self._shown_standing is None else datetime.now(timezone.utc)

    def freeze(self, when: datetime | date | str | None = None) -> None:
        """Stand still until ``move`` or ``sleep``.

        :param when: at this moment, such as ``"2026-01-01"``; without a time zone it is in UTC. Default: the present.
        :raises ToolkitMisuse: when it is no moment.
        """
        self._instant = (
            self._seconds() if when is None else (instant_of(when, parameter="when") - utc(0)).total_seconds()
        )
        self._engage()

    def move(self, by: float | timedelta) -> None:
        """Go on by so many seconds, or back where negative. A frozen clock stands there; another one runs on.

        :raises ToolkitMisuse: when it is no number of seconds.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if not _is_finite_number(seconds):
            raise ToolkitMisuse(f"cosmos_clock.move({by!r}): give seconds, or a timedelta.")
        if self._instant is None:
            self._ahead += seconds
        else:
            self._instant += seconds
        self._moved += max(seconds, 0.0)
        self._engage()

    def sleep(self, seconds: float) -> None:
        """What ``time.sleep`` is meanwhile: the clock moves, and nobody waits."""
        if _PROCESS.resting:
            real_time.sleep(seconds)
            return
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.move(seconds)
        # Another thread may do what the sleeper waits for.
        real_time.sleep(0)

    def _release(self) -> None:
        """Back to the real time."""
        self._hide()
        self._engagement.close()
        _PROCESS.engaged = None
        self._instant, self._ahead, self._moved = None, 0.0, 0.0

    def _show(self) -> None:
        """From now on this process sees the time of this clock."""
        standing = self._instant is not None
        if self._shown_standing is standing:
            self._engine.move_to(self._seconds())
            return
        self._hide()
        self._engine.start(self._seconds(), stands=standing)
        self._shown_standing = standing

    def _hide(self) -> None:
        """From now on this process sees the real time."""
        if self._shown_standing is not None:
            self._engine.stop()
            self._shown_standing = None

    def _seconds(self) -> float:
        return real_time.now() + self._ahead if self._instant is None else self._instant

    def _monotonic(self) -> float:
        """Moved on with the clock and never back; not frozen, since what waits for an event would wait for ever."""
        return self._real_monotonic() + self._moved

    def _engage(self) -> None:
        if _PROCESS.engaged is not self:
            _PROCESS.engaged = self
            self._engagement.enter_context(replaced("sleep", self.sleep))
            if not self._engine.keeps_monotonic:
                self._real_monotonic = self._engagement.enter_context(replaced("monotonic", self._monotonic))
        if not _PROCESS.resting:
            self._show()


def _is_finite_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@contextmanager
def clock_of_a_test() -> Iterator[Clock]:
    """A clock for the length of the block; afterwards the time is real."""
    clock = Clock()
    try:
        yield clock
    finally:
        clock._release()


def now() -> datetime | None:
    """What the clock of the running test shows; None while it shows the real time."""
    return None if _PROCESS.engaged is None else _PROCESS.engaged.now


@contextmanager
def at_rest() -> Iterator[None]:
    """For the length of the block this process sees the real time: Airflow does its own work."""
    with _resting_is(True):
        yield


@contextmanager
def going_on_in(module: ModuleType, name: str) -> Iterator[None]:
    """Within a block of ``at_rest``: while this function of Airflow executes a task, the task sees the test's time.

    Not all the time: under freezegun's classes pydantic, on which Airflow 3 is built, cannot make its models.
    """
    function = getattr(module, name)

    @functools.wraps(function)
    def execute(*arguments: Any, **options: Any) -> Any:
        with _resting_is(False):
            return function(*arguments, **options)

    with mock.patch.object(module, name, execute):
        yield


@contextmanager
def _resting_is(rests: bool) -> Iterator[None]:
    before, _PROCESS.resting = _PROCESS.resting, rests
    _follow()
    try:
        yield
    finally:
        _PROCESS.resting = before
        _follow()


def _follow() -> None:
    if _PROCESS.engaged is not None:
        if _PROCESS.resting:
            _PROCESS.engaged._hide()
        else:
            _PROCESS.engaged._show()
