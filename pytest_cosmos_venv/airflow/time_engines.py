"""Who shows the code under test another time? time-machine where the project has installed it, else freezegun."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

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
