"""How is YAML read? By PyYAML's parser in C where it has one: ten times faster, and each task reads some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOST_LEVELS = 100
MOST_ALIASED = 8_000_000
"""For which aliases may stand. A manifest would have them written out."""

_WEIGHT = 8  # of a value beside its characters
_LONGEST_NUMBER = 4_300  # as Python reads digits; those on base 60 (1:59:59) take the square of their length


def load_yaml(text: str) -> Any:
    """What a YAML text says, as plain data.

    :raises yaml.YAMLError: when it is none; when it is nested in more than 100 levels, contains itself, or its aliases
        stand for more than 8 million characters.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _refuse_bombs(text, loader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders
    except ValueError as error:  # of a date that is none, such as 2026-02-30
        raise yaml.YAMLError(f"it has a value that cannot be: {error}") from error


def _refuse_bombs(text: str, loader: Any) -> None:
    """By the events of the parser, a tenth of the whole: the C parser that makes nodes of them ends the process with a
    segmentation fault at some 20,000 levels, and nine lines of aliases are a billion values once they are written out.
    """
    import yaml

    written_out = _WrittenOut()
    event: Any
    for event in yaml.parse(text, Loader=loader):
        if reason := written_out.take(event):
            raise yaml.YAMLError(f"{reason}, in line {event.start_mark.line + 1}")


class _WrittenOut:
    """A YAML text with its aliases written out, as long as it would be."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}  # of what has an anchor
        self._levels: list[tuple[str | None, int]] = []  # the anchor of each, and the size of what stood before it
        self._size = self._copied = 0

    def take(self, event: Any) -> str | None:
        """Why it cannot go on after this event of the parser; None where it can."""
        take = _TAKERS.get(type(event).__name__)
        return take(self, event) if take else None

    def begin(self, event: Any) -> str | None:
        self._levels.append((event.anchor, self._size))
        self._size = _WEIGHT
        return f"it is nested in more than {MOST_LEVELS} levels" if len(self._levels) > MOST_LEVELS else None

    def end(self, _: Any) -> None:
        anchor, before = self._levels.pop()
        if anchor is not None:
            self._sizes[anchor] = self._size
        self._size += before

    def scalar(self, event: Any) -> str | None:
        length = len(event.value)
        if event.anchor is not None:
            self._sizes[event.anchor] = length + _WEIGHT
        self._size += length + _WEIGHT
        is_number = event.implicit[0] and length > _LONGEST_NUMBER and event.value[0] in "+-0123456789"
        return f"it has a number of {length:,} characters" if is_number else None

    def alias(self, event: Any) -> str | None:
        if any(anchor == event.anchor for anchor, _ in self._levels):
            return f"*{event.anchor} stands within itself"
        copied = self._sizes.get(event.anchor, 0)  # one that names nothing is refused by the parser
        self._size += copied
        self._copied += copied
        return f"its aliases stand for more than {MOST_ALIASED:,} characters" if self._copied > MOST_ALIASED else None


_TAKERS: dict[str, Callable[[_WrittenOut, Any], str | None]] = {
    "AliasEvent": _WrittenOut.alias,
    "MappingEndEvent": _WrittenOut.end,
    "MappingStartEvent": _WrittenOut.begin,
    "ScalarEvent": _WrittenOut.scalar,
    "SequenceEndEvent": _WrittenOut.end,
    "SequenceStartEvent": _WrittenOut.begin,
}
