"""The error of a toolkit that was used wrongly, and the warning for a parameter under its former name."""

from __future__ import annotations

import functools
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, SupportsIndex, TypeVar, overload

import pytest

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_TOOLKIT = Path(__file__).parent


# pytest gives the class of its own failures no other public name, and types know it under none.
class ToolkitMisuse(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A fixture, a mark or an option of the toolkit was used in a way that cannot work.

    A failure of pytest's own kind, so that a test that raises it ends with the text alone, and an
    ``except Exception`` in the code under test does not swallow it.

    :param message: what was given, and the way out.
    """

    # As pytest has it for its own, whose names it prints before the text in the summary of a run.
    __module__ = "builtins"

    def __init__(self, message: str) -> None:
        super().__init__(message, pytrace=False)

    def __reduce__(self) -> tuple[Callable[[str], ToolkitMisuse], tuple[str]]:
        # Raised in a process of a race or a pool, it has to come back; by its class it would not be found.
        return _misuse, (str(self.msg),)


def _misuse(message: str) -> ToolkitMisuse:
    return ToolkitMisuse(message)


class NotOnRecord(ToolkitMisuse, IndexError):
    """An entry of a record was asked for, and there are fewer. An IndexError too, for code that expects one."""


class Record(list[T]):
    """What a fixture has on record: a list, which says what is in it when it is asked for more.

    :param entries: what is on record, the earliest first.
    :param name: how a test reaches it: ``calls``.
    :param what: one entry, in words: ``call of dbt``.
    :param shown: an entry as a line of the message.
    """

    def __init__(self, entries: Iterable[T], *, name: str, what: str, shown: Callable[[T], str]) -> None:
        super().__init__(entries)
        self._name, self._what, self._shown = name, what, shown

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> T | list[T]:
        """The entry.

        :raises NotOnRecord: when there are fewer; with those there are.
        """
        __tracebackhide__ = True
        try:
            return super().__getitem__(index)
        except IndexError:
            raise NotOnRecord(self._told(index)) from None

    def __reduce__(self) -> tuple[type[list[T]], tuple[list[T]]]:
        return list, (list(self),)  # how entries are shown is a function, which may not go to another process

    def _told(self, index: object) -> str:
        if not self:
            return f"{self._name}[{index}]: there was no {self._what}."
        count = f"1 {self._what}" if len(self) == 1 else f"{len(self)}, each a {self._what}"
        entries = "".join(f"\n  {number}: {self._shown(entry)}" for number, entry in enumerate(self))
        return f"{self._name}[{index}]: there is {count}:{entries}"


def takes_timeout_as_deadline(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take its ``timeout`` under the former name ``deadline`` too, with a DeprecationWarning."""

    @functools.wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> R:
        __tracebackhide__ = True
        renamed: Any = with_timeout(function.__name__, options, stacklevel=3)
        return function(*arguments, **renamed)

    return called


def seconds_of(parameter: str, value: object) -> float:
    """Return a number of seconds that was given as an argument.

    :raises ToolkitMisuse: when it is no number, or negative.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ToolkitMisuse(f"{parameter}={value!r}: give seconds, 0 or more.")
    return value


def count_of(parameter: str, value: object, *, what: str) -> int:
    """Return a number, counted from 1, that was given as an argument.

    :param what: is counted, for the message.
    :raises ToolkitMisuse: when it is no whole number from 1 on.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ToolkitMisuse(f"{parameter}={value!r} names no {what}: the first one is 1.")
    return value


def with_timeout(name: str, options: dict[str, Any], *, stacklevel: int) -> dict[str, Any]:
    """Return the keyword arguments of a call with ``timeout`` in place of its former name ``deadline``.

    :param name: of the function that was called, for the messages.
    :param stacklevel: of the warning: 2 is the caller of the function that calls this one.
    :raises ToolkitMisuse: when both are given.
    """
    if "deadline" not in options:
        return options
    if "timeout" in options:
        raise ToolkitMisuse(f"{name}(timeout=…, deadline=…): both are the same seconds; give timeout alone.")
    warnings.warn(f"{name}(deadline=…) is now {name}(timeout=…).", DeprecationWarning, stacklevel=stacklevel)
    return {("timeout" if each == "deadline" else each): value for each, value in options.items()}


def blamed_line(trace: TracebackType | None, project: Path) -> str | None:
    """The line of the project that called the toolkit last, ``path:number: source``; None where there is none.

    :param project: its folder; environments inside are none of it.
    """
    for frame in reversed(traceback.extract_tb(trace)):
        file = Path(frame.filename)
        if file.is_relative_to(project) and not file.is_relative_to(_TOOLKIT) and "site-packages" not in file.parts:
            return f"{file.relative_to(project)}:{frame.lineno}: {frame.line}"
    return None
