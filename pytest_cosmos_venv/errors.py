"""The errors of the toolkit: a misuse fails the test with one sentence, without a traceback through the toolkit."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

import pytest

_TOOLKIT = Path(__file__).parent
_Entry = TypeVar("_Entry")
_SHOWN_ENTRIES = 10


# pytest has no other public name for the class of its failures, and mypy does not know this name.
class ToolkitMisuse(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A fixture, a mark or an option of the toolkit was used in a way that cannot work.

    A failure of pytest's own kind, so that a test that raises it ends with the text alone, and an ``except Exception``
    in the code under test does not swallow it.

    :param message: what was given, and how it works.
    """

    # As pytest does for its own failures: in the summary it prints the module of any other class before the text.
    __module__ = "builtins"

    def __init__(self, message: str) -> None:
        super().__init__(message, pytrace=False)

    def __reduce__(self) -> tuple[Callable[[str], ToolkitMisuse], tuple[str]]:
        # An error in a process of a race or a pool comes back by pickle, which would not find the class in builtins.
        return _misuse, (str(self.msg),)


class AlreadyTaken(ToolkitMisuse):
    """A name or a place that the test wants is in use. Another contender may have taken it."""

    __module__ = "builtins"


class NoSuchEntry(ToolkitMisuse, IndexError):
    """An index is beyond the end of a list of records."""

    __module__ = "builtins"


class RecordList(list[_Entry]):
    """A list of records, the earliest first; an error for an index beyond its end lists the entries.

    :param entries: the entries.
    :param of: the attribute that gives the list, for the message: ``calls``.
    :param none: the words for an empty list: ``dbt was not called``.
    :param word: returns an entry in a few words.
    """

    def __init__(
        self, entries: Iterable[_Entry] = (), *, of: str, none: str, word: Callable[[_Entry], object] = str
    ) -> None:
        super().__init__(entries)
        self._told = of, none, word

    if not TYPE_CHECKING:  # for mypy the type of list holds

        def __getitem__(self, index: object) -> object:
            """Return an entry, or a part of the list.

            :param index: an index or a slice.
            :raises NoSuchEntry: the index is beyond the end; the text says what the list holds.
            """
            try:
                return super().__getitem__(index)
            except IndexError:
                raise _absent(self, index, *self._told) from None

    def __reduce__(self) -> tuple[object, ...]:
        return list, (tuple(self),)


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
    """A dictionary of records; an error for a missing name lists the names.

    :param entries: the entries, by name.
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
    """No request has met a fault that the test asked for: the test might pass without the fault."""


class UnfinishedExplorationWarning(pytest.PytestWarning):
    """An exploration has stopped at its bound of schedules or seconds: some schedules did not run."""


def require_count(value: int, parameter: str, *, least: int = 1) -> None:
    """Refuse a number that is too small.

    :param value: the value.
    :param parameter: the name of the parameter, for the error.
    :param least: the smallest number that is allowed.
    :raises ToolkitMisuse: it is below ``least``.
    """
    if value < least:
        raise ToolkitMisuse(f"{parameter}={value}: give {least} or more.")


def require_seconds(value: float, parameter: str, *, is_positive: bool = False) -> None:
    """Refuse a value that is no length of time.

    :param value: the value, in seconds.
    :param parameter: the name of the parameter, for the error.
    :param is_positive: whether 0 is refused.
    :raises ToolkitMisuse: it is no length of time.
    """
    if not (value > 0 if is_positive else value >= 0):
        raise ToolkitMisuse(f"{parameter}={value!r}: give seconds, {'more than 0' if is_positive else '0 or more'}.")


def _misuse(message: str) -> ToolkitMisuse:
    return ToolkitMisuse(message)


def blamed_line(trace: TracebackType | None, project: Path) -> str | None:
    """Return the line of the project that called the toolkit last, ``path:number: source``; None where there is none.

    :param trace: the traceback of the error.
    :param project: the folder of the project; environments inside it do not count.
    """
    for frame in reversed(traceback.extract_tb(trace)):
        file = Path(frame.filename)
        if file.is_relative_to(project) and not file.is_relative_to(_TOOLKIT) and "site-packages" not in file.parts:
            return f"{file.relative_to(project)}:{frame.lineno}: {frame.line}"
    return None
