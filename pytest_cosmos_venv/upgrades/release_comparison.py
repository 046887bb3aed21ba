"""What differs between releases of dbt, as one table: records of a test are compared with that of the first release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_cosmos_venv.text_table import table_lines
from pytest_cosmos_venv.upgrades.release_record import CommandRecord, NodeRecord, ReleaseRecord, TaskRecord

OUTCOME, NODES, TASKS, STATE = "outcome", "nodes", "tasks", "state"
ROWS, SQL, WARNINGS = "rows", "SQL", "warnings"
KINDS = (OUTCOME, NODES, TASKS, STATE, ROWS, SQL, WARNINGS)
"""The kinds of differences, the gravest first."""
_PRESENT, _ABSENT = "there", "-"

_Found = tuple[str, str, str, str]
"""Kind, subject, before and after of a difference."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that another release of dbt does otherwise.

    :param kind: one of ``KINDS``.
    :param test: the id of the test without the release.
    :param subject: the unique id of the node, or the command; empty for the outcome of the test.
    :param base: the release that is compared with, the first of the run.
    :param release: the release that does it otherwise.
    :param before: what the base does.
    :param after: what the release does.
    """

    kind: str
    test: str
    subject: str
    base: str
    release: str
    before: str
    after: str


def _by_test(records: Iterable[ReleaseRecord]) -> dict[str, dict[str, ReleaseRecord]]:
    """Return test -> release -> record."""
    found: dict[str, dict[str, ReleaseRecord]] = {}
    for record in records:
        found.setdefault(record.test, {})[record.release] = record
    return dict(sorted(found.items()))


def differences(records: Iterable[ReleaseRecord], releases: Sequence[str]) -> list[Difference]:
    """Return what differs from the first release, the gravest first.

    :param records: the records of a run, in any order.
    :param releases: the releases of the run, the one to compare with first.
    """
    base, *others = releases
    found: list[Difference] = []
    for test, of_test in _by_test(records).items():
        first = of_test.get(base)
        for release in others:
            other = of_test.get(release)
            if first is not None and other is not None:
                found += _between(test, first, other)
    return sorted(_warnings_once(found), key=lambda each: KINDS.index(each.kind))


def _warnings_once(found: Iterable[Difference]) -> Iterator[Difference]:
    """Leave out warnings that another step of the same project has given already."""
    told = set()
    for each in found:
        place = each.test.rpartition("::")[0], each.release, each.subject, each.before
        if each.kind != WARNINGS or place not in told:
            yield each
        if each.kind == WARNINGS:
            told.add(place)


def _between(test: str, first: ReleaseRecord, other: ReleaseRecord) -> Iterator[Difference]:
    for kind, subject, before, after in _of_records(first, other):
        yield Difference(
            kind=kind,
            test=test,
            subject=subject,
            base=first.release,
            release=other.release,
            before=before,
            after=after,
        )


def _of_records(first: ReleaseRecord, other: ReleaseRecord) -> Iterator[_Found]:
    if first.outcome != other.outcome:
        yield OUTCOME, "", first.outcome, other.outcome
    for one, two in zip(first.commands, other.commands, strict=False):
        if one.command != two.command:
            # From here on the test itself has done something else: what follows compares unlike things.
            yield OUTCOME, one.command, one.command, two.command
            return
        yield from _lacking(one, two, _PRESENT, _ABSENT)
        yield from _lacking(two, one, _ABSENT, _PRESENT)
        if one.tasks and two.tasks:
            yield from _of_tasks(one.tasks, two.tasks)
        for name, node in one.nodes.items():
            if name in two.nodes:
                yield from ((kind, name, before, after) for kind, before, after in _of_node(node, two.nodes[name]))


def _lacking(one: CommandRecord, other: CommandRecord, before: str, after: str) -> Iterator[_Found]:
    """Yield what the other command lacks. One that has failed as a whole has no nodes; its outcome tells it."""
    if other.nodes:
        yield from ((NODES, name, before, after) for name in one.nodes if name not in other.nodes)
        yield from ((WARNINGS, name, before, after) for name in one.warnings if name not in other.warnings)


def _of_tasks(one: Mapping[str, TaskRecord], two: Mapping[str, TaskRecord]) -> Iterator[_Found]:
    gone, new = [name for name in one if name not in two], [name for name in two if name not in one]
    for name in gone:
        purpose = one[name].purpose
        same = next((other for other in new if purpose is not None and two[other].purpose == purpose), _ABSENT)
        if same in new:
            new.remove(same)
        yield TASKS, name, _PRESENT if same == _ABSENT else name, same
    yield from ((TASKS, name, _ABSENT, _PRESENT) for name in new)
    for name, task in one.items():
        if name in two and task.upstream != two[name].upstream:
            yield TASKS, name, _after(task), _after(two[name])


def _after(task: TaskRecord) -> str:
    return f"after {', '.join(task.upstream) or 'no task'}"


def _of_node(one: NodeRecord, two: NodeRecord) -> Iterator[tuple[str, str, str]]:
    if one.status != two.status:
        yield STATE, one.status, two.status
    if one.content and two.content and one.content != two.content:
        yield ROWS, one.content, two.content
    if one.compiled and two.compiled and one.compiled.split() != two.compiled.split():
        yield SQL, "", "differs"


def table(found: Sequence[Difference], releases: Sequence[str]) -> list[str]:
    """Return the lines of a table: one row for each thing that differs, one column for each release.

    :param found: the differences.
    :param releases: the releases of the run, the one to compare with first.
    """
    if not found:
        return [f"Nothing differs from dbt {releases[0]}."]
    values: dict[tuple[str, str, str], dict[str, str]] = {}
    for each in found:
        key = (each.kind, each.subject or each.test, each.before)
        values.setdefault(key, {each.base: each.before})[each.release] = each.after
    head = ("differs", "of", *releases)
    rows = [(*key[:2], *(values[key].get(release, "=") for release in releases)) for key in values]
    return table_lines([head, *rows])
