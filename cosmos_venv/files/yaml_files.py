"""Reading YAML with PyYAML's parser in C, where it has one: ten times faster, and each task reads some.

Nesting, aliases and long numbers that would end or stop the process are refused before PyYAML makes objects of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

MOST_LEVELS = 100
MOST_ALIASED = 8_000_000
"""For which aliases may stand. A manifest would have them written out."""

_WEIGHT = 8  # of a value beside its characters
_LONGEST_NUMBER = 4_300  # as Python reads digits; those on base 60 (1:59:59) take the square of their length
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class Scalar(NamedTuple):
    """A value in a YAML text that is no list and no mapping.

    :ivar keys: the keys that lead to it; places in lists are left out.
    :ivar line: number of its first line, from 1.
    :ivar text: without YAML's quotes.
    """

    keys: tuple[str, ...]
    line: int
    text: str


def load_yaml(text: str) -> Any:
    """Return what a YAML text says, as plain data.

    :param text: of a whole file, with one document.
    :raises yaml.YAMLError: when it is none; when it is nested in more than 100 levels, contains itself, or its aliases
        stand for more than 8 million characters.
    """
    import yaml

    loader = _loader()
    _refuse_bombs(text, loader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders
    except (ArithmeticError, ValueError) as error:  # of a date that is none, such as 2026-02-30
        raise yaml.YAMLError(f"it has a value that cannot be: {error}") from None
    except (AttributeError, LookupError, TypeError) as error:  # of !!timestamp x, !!bool maybe, !!int ''
        raise yaml.YAMLError("it has a value that is not what its tag says, such as !!bool maybe") from error


def scalars(text: str) -> list[Scalar] | None:
    """Return the values of a YAML text in the order of their lines, each once, wherever aliases repeat it; None when
    the text is no YAML.

    :param text: of a whole file, with one document.
    """
    import yaml

    try:
        _refuse_bombs(text, _loader())
        root = yaml.compose(text, Loader=_loader())
    except yaml.YAMLError:
        return None
    found: list[Scalar] = []
    seen: set[int] = set()
    todo: list[tuple[tuple[str, ...], Any]] = [] if root is None else [((), root)]
    while todo:
        keys, node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            todo += [((*keys, str(key.value)), value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(keys, value) for value in node.value]
        else:
            # The text of a block begins below its mark.
            found.append(Scalar(keys, node.start_mark.line + 1 + (node.style in ("|", ">")), node.value))
    return sorted(found, key=lambda scalar: scalar.line)


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _refuse_bombs(text: str, loader: Any) -> None:
    """Raise where the events of the parser, which take a tenth of the time of the whole, show a bomb.

    The C parser that makes nodes of them ends the process with a segmentation fault at some thousands of levels, and
    nine lines of aliases are a billion values once they are written out.
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
        """Return why an event of the parser is refused; None where it is not.

        :param event: of ``yaml.parse``.
        """
        take = _TAKERS.get(type(event).__name__)
        return take(self, event) if take else None

    def begin(self, event: Any) -> str | None:
        """Take the beginning of a list or mapping.

        :param event: of ``yaml.parse``.
        """
        self._levels.append((event.anchor, self._size))
        self._size = _WEIGHT
        return f"it is nested in more than {MOST_LEVELS} levels" if len(self._levels) > MOST_LEVELS else None

    def end(self, _: Any) -> None:
        """Take the end of a list or mapping."""
        anchor, before = self._levels.pop()
        if anchor is not None:
            self._sizes[anchor] = self._size
        self._size += before

    def scalar(self, event: Any) -> str | None:
        """Take a value.

        :param event: of ``yaml.parse``.
        """
        length = len(event.value)
        if event.anchor is not None:
            self._sizes[event.anchor] = length + _WEIGHT
        self._size += length + _WEIGHT
        if length <= _LONGEST_NUMBER:
            return None
        is_number = event.value[0] in "+-0123456789" if event.implicit[0] else event.tag in _NUMBERS
        return f"it has a number of {length:,} characters" if is_number else None

    def alias(self, event: Any) -> str | None:
        """Take an alias.

        :param event: of ``yaml.parse``.
        """
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
