"""How the toolkit says that it was used wrongly: in a sentence, without a traceback of its own insides."""

from __future__ import annotations

import functools
import os
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import pytest

_TOOLKIT = Path(__file__).parent
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Entry = TypeVar("_Entry")
_FORMER = "deadline"
_SHOWN_ENTRIES = 10


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


class AlreadyTaken(ToolkitMisuse):
    """A name or a place that the test wants is in use. Another racer may have taken it, where racers share fixtures."""

    __module__ = "builtins"


class NoSuchEntry(ToolkitMisuse, IndexError):
    """An index is beyond the end of a record."""

    __module__ = "builtins"


class _Record:
    """What ``RecordList`` and ``RecordTuple`` share: an index beyond their end is told with what they hold."""

    _told: tuple[str, str, Callable[[Any], object]]

    if not TYPE_CHECKING:  # what an index gives, list and tuple say

        def __getitem__(self, index: object) -> object:
            """
            :raises NoSuchEntry: with what there is.
            """
            try:
                return super().__getitem__(index)
            except IndexError:
                raise _absent(list(self), index, *self._told) from None


class RecordList(_Record, list[_Entry]):
    """What was seen of something, the earliest first: a list that says what it holds where an index is beyond its end.

    :param of: the attribute that gives it, for the message: ``calls``.
    :param none: what to say when it is empty: ``dbt was not called``.
    :param word: gives an entry in a few words.
    """

    def __init__(
        self, entries: Iterable[_Entry] = (), *, of: str, none: str, word: Callable[[_Entry], object] = str
    ) -> None:
        super().__init__(entries)
        self._told = of, none, word

    def __reduce__(self) -> tuple[object, ...]:
        return list, (tuple(self),)


class RecordTuple(_Record, tuple[_Entry, ...]):
    """As ``RecordList``, a tuple."""

    def __new__(
        cls, entries: Iterable[_Entry] = (), *, of: str, none: str, word: Callable[[_Entry], object] = str
    ) -> RecordTuple[_Entry]:
        made = super().__new__(cls, entries)
        made._told = of, none, word
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return tuple, (tuple(self),)


def _absent(entries: list[_Entry], index: object, of: str, none: str, word: Callable[[_Entry], object]) -> NoSuchEntry:
    shown = [f"[{number}] {word(entry)}" for number, entry in enumerate(entries)]
    if len(shown) > _SHOWN_ENTRIES:
        shown[_SHOWN_ENTRIES // 2 : -_SHOWN_ENTRIES // 2] = ["…"]
    there = f"there {'is 1' if len(entries) == 1 else f'are {len(entries)}'}: {', '.join(shown)}" if shown else none
    return NoSuchEntry(f"{of}[{index}]: {there}.")


class NoSuchName(ToolkitMisuse, KeyError):
    """A name that is not in a record."""

    __module__ = "builtins"


class RecordDict(dict[str, _Entry]):
    """What was seen of something, by name: a dictionary that says which names it has where one is asked for that it has
    not.

    :param what: an entry in words, for the message: ``task of this run``.
    """

    def __init__(self, entries: Mapping[str, _Entry] | Iterable[tuple[str, _Entry]] = (), *, what: str) -> None:
        super().__init__(entries)
        self._what = what

    def __missing__(self, name: object) -> NoReturn:
        raise NoSuchName(f"{name!r} is no {self._what}; there are {', '.join(map(str, self)) or 'none'}.")

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (dict(self),)


class UnusedFaultWarning(pytest.PytestWarning):
    """A test has asked for a fault that nobody has met: what it shows may be shown by a sound index as well."""

    __module__ = "pytest_cosmos_venv"


def require(value: object, parameter: str, kinds: type | tuple[type, ...], words: str) -> None:
    """
    :param kinds: that the value may be of; True and False are no numbers.
    :param words: for the kinds: ``a text``.
    :raises ToolkitMisuse: for a value of another kind.
    """
    is_of_kind = isinstance(value, kinds) and (not isinstance(value, bool) or kinds is bool)
    if not is_of_kind:
        raise ToolkitMisuse(f"{parameter}={value!r}: give {words}.")


def require_text(value: object, parameter: str) -> None:
    """:raises ToolkitMisuse: for what is no text."""
    require(value, parameter, str, "a text")


def require_path(value: object, parameter: str) -> None:
    """:raises ToolkitMisuse: for what is no path."""
    require(value, parameter, (str, os.PathLike), "a path")


def require_count(value: object, parameter: str, *, least: int = 1) -> None:
    """:raises ToolkitMisuse: for what is no whole number, or one below ``least``."""
    require(value, parameter, int, "a whole number")
    if cast("int", value) < least:
        raise ToolkitMisuse(f"{parameter}={value}: give {least} or more.")


def require_seconds(value: object, parameter: str, *, is_positive: bool = False) -> None:
    """
    :param is_positive: whether 0 is refused.
    :raises ToolkitMisuse: for what is no length of time.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (value > 0 if is_positive else value >= 0):  # type: ignore[operator] # a number
        raise ToolkitMisuse(f"{parameter}={value!r}: give seconds, {'more than 0' if is_positive else '0 or more'}.")


def take_former_name(options: MutableMapping[str, Any], *, stacklevel: int) -> None:
    """Take ``deadline`` as ``timeout``, which it was called before.

    :param options: keywords of a call; changed.
    :param stacklevel: of the call to blame, seen from the caller of this function.
    """
    if _FORMER not in options:
        return
    if options.get("timeout") is not None:
        raise ToolkitMisuse("timeout=… and deadline=… are one thing: leave out deadline, its former name.")
    warnings.warn("deadline=… is called timeout=… now", DeprecationWarning, stacklevel=stacklevel + 1)
    options["timeout"] = options.pop(_FORMER)


def with_timeout(function: _Function) -> _Function:
    """A public function with a keyword ``timeout`` in seconds: what is no time is refused in a sentence."""
    may_be_none = (function.__kwdefaults__ or {}).get("timeout", 0.0) is None

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        take_former_name(options, stacklevel=2)
        if "timeout" in options and not (may_be_none and options["timeout"] is None):
            require_seconds(options["timeout"], "timeout")
        return function(*arguments, **options)

    return cast("_Function", call)


def _misuse(message: str) -> ToolkitMisuse:
    return ToolkitMisuse(message)


def blamed_line(trace: TracebackType | None, project: Path) -> str | None:
    """The line of the project that called the toolkit last, ``path:number: source``; None where there is none.

    :param project: its folder; environments inside are none of it.
    """
    for frame in reversed(traceback.extract_tb(trace)):
        file = Path(frame.filename)
        if file.is_relative_to(project) and not file.is_relative_to(_TOOLKIT) and "site-packages" not in file.parts:
            return f"{file.relative_to(project)}:{frame.lineno}: {frame.line}"
    return None
