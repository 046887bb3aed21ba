"""The time that the code under test sees, frozen, in this process only; ``time.sleep`` moves it on.

freezegun replaces Python's clock. Airflow's own work runs in real time: pydantic, on which Airflow 3 is built, cannot
create models with freezegun's classes.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from types import ModuleType
from typing import Any
from unittest import mock

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse

_UNTOUCHED = ("_pytest", "pluggy", "xdist", "execnet", "pytest_", "threading", "asyncio")


def instant_of(when: datetime | date | str, *, parameter: str) -> datetime:
    """Return a moment in UTC. A date means its midnight, and a value without a time zone is in UTC.

    :param when: a date or time, or a string in ISO format, such as ``2026-01-01`` or ``2026-01-01T12:00:00+02:00``.
    :param parameter: the name of the parameter, for the error.
    :raises ToolkitMisuse: the string is no date and no time.
    """
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.replace("Z", "+00:00"))
        except ValueError:
            raise ToolkitMisuse(
                f"{parameter}={when!r} is no date and no time: write it as 2026-01-01 or 2026-01-01T12:00:00+00:00."
            ) from None
    if not isinstance(when, datetime):
        when = datetime.combine(when, time())
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def utc(seconds: float) -> datetime:
    """Return the moment that is so many seconds after the epoch, in UTC.

    :param seconds: seconds since the epoch.
    """
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


@contextmanager
def _sleep_replaced(substitute: Callable[[float], None]) -> Iterator[None]:
    """Replace ``time.sleep`` in every module for the length of the block, whatever its name is there.

    A module that is imported within the block, with ``from time import sleep``, gets the real function back too.
    """
    real = sys.modules["time"].sleep
    _swap(real, substitute)
    try:
        yield
    finally:
        _swap(substitute, real)


def _swap(old: object, new: object) -> None:
    for module_name, module in list(sys.modules.items()):
        names: dict[str, object] = getattr(module, "__dict__", {})
        if module_name.startswith(_UNTOUCHED):
            continue
        for name in [name for name, value in list(names.items()) if value is old]:
            names[name] = new


@contextmanager
def _durations_kept() -> Iterator[None]:
    """Keep pytest's own functions for the duration of a test, which freezegun would replace too."""
    timing = vars(sys.modules["_pytest.timing"])
    before = dict(timing)
    try:
        yield
    finally:
        timing.update(before)


@dataclass
class _Process:
    """The state of the whole process: all its code sees the same time.

    :param active: the clock that was frozen; None: the time is real.
    :param is_paused: whether the real time is shown, because Airflow is at work.
    """

    active: Clock | None = None
    is_paused: bool = False


_PROCESS = _Process()


class Clock:
    """The clock of a test. It shows the real time until ``freeze`` or ``move`` is called, and again after the test."""

    def __init__(self) -> None:
        self._freezer: Any = None
        self._factory: Any = None
        self._replacements = ExitStack()
        # The moment at which the clock stands; None while it shows the real time.
        self._instant: float | None = None
        self._moved = 0.0

    @property
    def now(self) -> datetime:
        """The moment that the clock shows, in UTC."""
        # As the process sees it: freezegun may cut a microsecond off the time that it was given.
        return utc(self._seconds()) if self._factory is None else datetime.now(timezone.utc)

    def freeze(self, when: datetime | date | str | None = None) -> None:
        """Stand still until ``move`` or ``sleep``.

        :param when: stand at this moment, such as ``"2026-01-01"``; without a time zone it is in UTC. Default: the
            present.
        :raises ToolkitMisuse: it is no moment.
        """
        self._instant = (
            self._seconds() if when is None else (instant_of(when, parameter="when") - utc(0)).total_seconds()
        )
        self._activate()

    def move(self, by: float | timedelta) -> None:
        """Move the clock forward, or back by a negative time; from then on it stands still.

        :param by: seconds, or a ``timedelta``.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        self._instant = self._seconds() + seconds
        self._moved += max(seconds, 0.0)
        self._activate()

    def sleep(self, seconds: float) -> None:
        """Move the clock without waiting: it replaces ``time.sleep`` while the clock is frozen.

        While Airflow does its own work, this function waits in real time.

        :param seconds: seconds, not negative.
        """
        if _PROCESS.is_paused:
            real_time.sleep(seconds)
            return
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.move(seconds)
        # Let other threads run: the sleeping code may wait for one of them.
        real_time.sleep(0)

    def _release(self) -> None:
        """Show the real time again, as after the test."""
        self._hide()
        self._replacements.close()
        _PROCESS.active = None
        self._instant, self._moved = None, 0.0

    def _show(self) -> None:
        """Show the time of this clock to this process from now on."""
        if self._factory is not None:
            self._factory.move_to(utc(self._seconds()))
            return
        import freezegun.api

        api: Any = freezegun.api
        self._freezer = api.freeze_time(utc(self._seconds()), real_asyncio=True)
        with _durations_kept():
            self._factory = self._freezer.start()

    def _hide(self) -> None:
        """Show the real time to this process from now on."""
        if self._factory is not None:
            self._freezer.stop()
            self._factory = None

    def _seconds(self) -> float:
        return real_time.now() if self._instant is None else self._instant

    def _activate(self) -> None:
        if _PROCESS.active is not self:
            _PROCESS.active = self
            self._replacements.enter_context(_sleep_replaced(self.sleep))
        if not _PROCESS.is_paused:
            self._show()


@contextmanager
def clock_of_a_test() -> Iterator[Clock]:
    """A clock for the length of the block; afterwards the time is real."""
    clock = Clock()
    try:
        yield clock
    finally:
        clock._release()


@contextmanager
def clock_of_runs() -> Iterator[Clock]:
    """Yield the clock of the running test if it is frozen; else a new clock, which ends with the block."""
    if _PROCESS.active is not None:
        yield _PROCESS.active
    else:
        with clock_of_a_test() as clock:
            yield clock


def now() -> datetime | None:
    """Return the moment that the clock of the running test shows; None while it shows the real time."""
    return None if _PROCESS.active is None else _PROCESS.active.now


def moved() -> float:
    """Return the seconds by which ``move`` and ``sleep`` have moved the clock of the running test forward."""
    return 0.0 if _PROCESS.active is None else _PROCESS.active._moved


@contextmanager
def paused() -> Iterator[None]:
    """Show the real time for the length of the block, while Airflow does its own work."""
    with _pause_is(True):
        yield


@contextmanager
def resumed_during(module: ModuleType, name: str) -> Iterator[None]:
    """Show the test's time while one function of Airflow executes a task, within a block of ``paused``.

    The rest of Airflow sees the real time: pydantic, on which Airflow 3 is built, cannot create models with freezegun's
    classes.

    :param module: the module of that function.
    :param name: the name of the function in the module.
    """
    function = getattr(module, name)

    @functools.wraps(function)
    def execute(*arguments: Any, **options: Any) -> Any:
        with _pause_is(False):
            return function(*arguments, **options)

    with mock.patch.object(module, name, execute):
        yield


@contextmanager
def _pause_is(rests: bool) -> Iterator[None]:
    before, _PROCESS.is_paused = _PROCESS.is_paused, rests
    _apply()
    try:
        yield
    finally:
        _PROCESS.is_paused = before
        _apply()


def _apply() -> None:
    if _PROCESS.active is not None:
        if _PROCESS.is_paused:
            _PROCESS.active._hide()
        else:
            _PROCESS.active._show()
