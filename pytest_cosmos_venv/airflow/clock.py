"""Frozen or moved time, its engines and instants.

Which moment is meant? Dates and times as tests write them.

Who shows the code under test another time? time-machine where the project has installed it, else freezegun.

What time is it for the code under test? Frozen or moved, in this process; ``time.sleep`` moves it on.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol
from unittest import mock

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse


def instant_of(when: datetime | date | str, *, parameter: str) -> datetime:
    """The moment in UTC. A date is its midnight, and what has no time zone is in UTC.

    :param when: a string in ISO format, such as ``2026-01-01`` or ``2026-01-01T12:00:00+02:00``.
    :param parameter: its name, for the error.
    :raises ToolkitMisuse: when it is no moment.
    """
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.replace("Z", "+00:00"))
        except ValueError:
            raise ToolkitMisuse(
                f"{parameter}={when!r} is no date and no time: write it as 2026-01-01 or 2026-01-01T12:00:00+00:00."
            ) from None
    if not isinstance(when, date):
        raise ToolkitMisuse(f"{parameter}={when!r} is no date and no time: write it as '2026-01-01'.")
    if not isinstance(when, datetime):
        when = datetime.combine(when, time())
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


_UNTOUCHED = ("_pytest", "pluggy", "xdist", "execnet", "pytest_", "threading", "asyncio")


class Engine(Protocol):
    """Shows this process another time between ``start`` and ``stop``."""

    keeps_monotonic: bool

    def start(self, seconds: float, *, stands: bool) -> None:
        """Show this time, which stands or runs on."""

    def move_to(self, seconds: float) -> None:
        """Show another time."""

    def stop(self) -> None:
        """Show the real time."""


def installed_engine() -> Engine:
    """The one for this project."""
    return _TimeMachine() if find_spec("time_machine") else _Freezegun()


def utc(seconds: float) -> datetime:
    """The moment so many seconds after the epoch."""
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


@contextmanager
def replaced(name: str, substitute: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """For the length of the block every module that has ``time.<name>`` under any name of its own has ``substitute``.

    Gives the block the real function.

    Modules that are imported within the block and take it by name keep it no longer than that either.
    """
    real = getattr(sys.modules["time"], name)
    _swap(real, substitute)
    try:
        yield real
    finally:
        _swap(substitute, real)


def _swap(old: object, new: object) -> None:
    for module_name, module in list(sys.modules.items()):
        names: dict[str, object] = getattr(module, "__dict__", {})
        if module_name.startswith(_UNTOUCHED):
            continue
        for name in [name for name, value in list(names.items()) if value is old]:
            names[name] = new


class _TimeMachine:
    keeps_monotonic = False

    def __init__(self) -> None:
        self._time_machine: Any = import_module("time_machine")

    def start(self, seconds: float, *, stands: bool) -> None:
        self._travel = self._time_machine.travel(seconds, tick=not stands)
        self._traveller = self._travel.start()

    def move_to(self, seconds: float) -> None:
        self._traveller.move_to(seconds)

    def stop(self) -> None:
        self._travel.stop()


class _Freezegun:
    keeps_monotonic = True

    def __init__(self) -> None:
        import freezegun.api

        self._api: Any = freezegun.api

    def start(self, seconds: float, *, stands: bool) -> None:
        self._freezer = self._api.freeze_time(utc(seconds), tick=not stands, real_asyncio=True)
        with _durations_kept():
            self._factory = self._freezer.start()

    def move_to(self, seconds: float) -> None:
        self._factory.move_to(utc(seconds))

    def stop(self) -> None:
        self._freezer.stop()


@contextmanager
def _durations_kept() -> Iterator[None]:
    """pytest tells the duration of a test by names of its own for these functions, which freezegun finds."""
    timing = vars(sys.modules["_pytest.timing"])
    before = dict(timing)
    try:
        yield
    finally:
        timing.update(before)


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
