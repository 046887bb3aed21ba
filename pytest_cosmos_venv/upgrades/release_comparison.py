"""What differs between releases of dbt, as one table: records of a test are compared with that of the first release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_cosmos_venv.text_table import table_lines
from pytest_cosmos_venv.upgrades.release_record import (
    NODES,
    OUTCOME,
    ROWS,
    SQL,
    STATE,
    TASKS,
    WARNINGS,
    Facts,
    ReleaseRecord,
)

KINDS = (OUTCOME, NODES, TASKS, STATE, ROWS, SQL, WARNINGS)
"""The kinds of differences, the gravest first."""
_BY_PRESENCE = (NODES, TASKS, WARNINGS)
_ABSENT = "-"

_Found = tuple[str, str, str, str]
"""Kind, subject, before and after of a difference."""


def table(records: Iterable[ReleaseRecord], releases: Sequence[str]) -> list[str]:
    """Return the lines of a table: one row for each thing that differs, one column for each release.

    A warning that several steps of a project give has one row, and so has any other thing that differs alike.

    :param records: the records of a run, in any order.
    :param releases: the releases of the run, the one to compare with first.
    """
    base, *others = releases
    by_test: dict[str, dict[str, ReleaseRecord]] = {}
    for record in records:
        by_test.setdefault(record.test, {})[record.release] = record
    values: dict[tuple[str, str, str], dict[str, str]] = {}
    for test, of_test in sorted(by_test.items()):
        for release in others if base in of_test else ():
            if release in of_test:
                for kind, subject, before, after in differences(of_test[base], of_test[release]):
                    values.setdefault((kind, subject or test, before), {})[release] = after
    if not values:
        return [f"Nothing differs from dbt {base}."]
    rows = [(*key, *(values[key].get(release, "=") for release in others)) for key in values]
    rows.sort(key=lambda row: KINDS.index(row[0]))
    return table_lines([("differs", "of", *releases), *rows])


def differences(first: ReleaseRecord, other: ReleaseRecord) -> Iterator[_Found]:
    """Yield what differs between two records of a test; the subject of its outcome is empty.

    :param first: the record with the release to compare with.
    :param other: the record with another release.
    """
    if first.outcome != other.outcome:
        yield OUTCOME, "", first.outcome, other.outcome
    for (command, one), (another, two) in zip(first.commands, other.commands, strict=False):
        if command != another:
            # From here on the test itself has done something else: what follows compares unlike things.
            yield OUTCOME, command, command, another
            return
        if one and two:
            yield from _of_facts(one, two)


def _of_facts(one: Facts, two: Facts) -> Iterator[_Found]:
    for kind in one:
        before, after = one[kind], two.get(kind, {})
        # What has failed as a whole has none; its outcome tells it.
        if kind != WARNINGS and not (before and after):
            continue
        for subject in dict.fromkeys((*before, *after)):
            values = before.get(subject, _ABSENT), after.get(subject, _ABSENT)
            is_known = kind in _BY_PRESENCE or not {"", _ABSENT}.intersection(values)
            if is_known and values[0] != values[1]:
                yield (kind, subject, "", "differs") if kind == SQL else (kind, subject, *values)
