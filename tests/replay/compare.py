"""The differences between two records, and which of them are meant."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any

SIZE = "bytes"
MOST_GROWTH = 1.1
"""How much larger than recorded a serialized DAG may be."""
NOTHING = "nothing"
CALLS = "calls"
"""The key of the calls of dbt in a record: texts, sorted."""
_SELECTION = re.compile(r"(--select|--exclude|--models)((?: (?!--)\S+)+)")
tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that differs.

    :param what: the keys that lead to it, with slashes between them.
    :param recorded: the recorded value.
    :param now: the value of the replay.
    """

    scenario: str
    what: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.scenario}: {self.what}: {self.recorded} → {self.now}"


@dataclass(frozen=True, kw_only=True)
class Meant:
    """Differences that are meant. In each field but ``reason`` a star stands for any text.

    :param reason: why the product does so now.
    """

    scenario: str
    what: str
    reason: str
    recorded: str = "*"
    now: str = "*"

    def covers(self, difference: Difference) -> bool:
        """Whether it says that a difference is meant."""
        return all(
            _fits(getattr(self, name), getattr(difference, name)) for name in ("scenario", "what", "recorded", "now")
        )


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def read_meant(file: Path) -> list[Meant]:
    """Return the entries of a file.

    :raises TypeError: an entry has another field, or has no reason.
    """
    return [Meant(**entry) for entry in tomllib.loads(file.read_text(encoding="utf-8")).get("meant", [])]


def read_records(folder: Path) -> dict[str, Any]:
    """Return the records of a folder, by scenario."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}


def verdict(found: Sequence[Difference], meant: Sequence[Meant]) -> list[str]:
    """Return a line for each difference that is not meant, and for each entry that no difference belongs to."""
    unmeant = [str(each) for each in found if not any(entry.covers(each) for entry in meant)]
    idle = [
        f"meant.toml: this no longer occurs: {entry.scenario}: {entry.what} ({entry.reason})"
        for entry in meant
        if not any(entry.covers(each) for each in found)
    ]
    return unmeant + idle


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return the differences between the records of two releases, by scenario."""
    return [
        Difference(scenario=name, what=what, recorded=before, now=after)
        for name in sorted({*recorded, *now})
        for what, before, after in _different("record", _in_one_order(recorded.get(name)), _in_one_order(now.get(name)))
    ]


def _in_one_order(value: Any) -> Any:
    """Return a record in which the words of each selection of dbt are sorted: to dbt their order says nothing."""
    if isinstance(value, Mapping):
        return {key: _in_one_order(each) for key, each in value.items()} | {
            key: sorted(map(_in_one_order, value[key])) for key in value if key == CALLS and value[key]
        }
    if isinstance(value, list):
        return [*map(_in_one_order, value)]
    return _SELECTION.sub(_with_sorted_words, value) if isinstance(value, str) else value


def _with_sorted_words(selection: re.Match[str]) -> str:
    return f"{selection[1]} {' '.join(sorted(selection[2].split()))}"


def _different(what: str, before: Any, after: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _different(f"{what}/{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _different_items(what, before, after)
    elif before != after and not (what.endswith(f"/{SIZE}") and _is_close(before, after)):
        yield what, _told(before), _told(after)


def _different_items(what: str, before: list[Any], after: list[Any]) -> Iterator[tuple[str, str, str]]:
    if any(isinstance(each, Mapping) for each in before + after):
        for index, (one, other) in enumerate(zip_longest(before, after)):
            yield from _different(f"{what}/{index}", one, other)
        return
    matcher = difflib.SequenceMatcher(None, list(map(_told, before)), list(map(_told, after)), autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            for one, other in zip_longest(before[start:end], after[new_start:new_end]):
                yield what, _told(one), _told(other)


def _is_close(before: Any, after: Any) -> bool:
    return isinstance(before, int) and isinstance(after, int) and after <= before * MOST_GROWTH


def _told(value: Any) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
