"""The table of differences between releases of dbt: each record of a test is compared with the first release's."""

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
    Facts,
    ReleaseRecord,
)

KINDS = (OUTCOME, NODES, TASKS, STATE, ROWS, SQL)
"""The kinds of differences, the gravest first."""
_BY_PRESENCE = (NODES, TASKS)
_ABSENT = "-"

_Found = tuple[str, str, str, str]
"""Kind, subject, before and after of a difference."""


def table(records: Iterable[ReleaseRecord], releases: Sequence[str]) -> list[str]:
    """Return the lines of a table: one row for each difference, one column for each release.

    Differences of the same kind and subject share a row, such as a node in several steps of a project.

    :param records: the records of a run, in any order.
    :param releases: the releases of the run; the others are compared with the first.
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
    """Yield the differences between two records of a test; a difference of outcomes has an empty subject.

    :param first: the record with the first release.
    :param other: the record with another release.
    """
    if first.outcome != other.outcome:
        yield OUTCOME, "", first.outcome, other.outcome
    for (command, one), (another, two) in zip(first.commands, other.commands, strict=False):
        if command != another:
            # The test itself ran another command, so later commands cannot be compared.
            yield OUTCOME, command, command, another
            return
        if one and two:
            yield from _of_facts(one, two)


def _of_facts(one: Facts, two: Facts) -> Iterator[_Found]:
    for kind in one:
        before, after = one[kind], two.get(kind, {})
        # A command that has failed as a whole has no facts of this kind; the outcome shows the failure.
        if not (before and after):
            continue
        for subject in dict.fromkeys((*before, *after)):
            values = before.get(subject, _ABSENT), after.get(subject, _ABSENT)
            is_known = kind in _BY_PRESENCE or not {"", _ABSENT}.intersection(values)
            if is_known and values[0] != values[1]:
                yield (kind, subject, "", "differs") if kind == SQL else (kind, subject, *values)
