"""The overview of a report: a table, area by level, and lines on what was not judged, for the terminal and for CI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from ..requirements import Level
from .comparison import Record, Report, area_of, seconds_by_area
from .verdicts import COUNTED, KEPT, Verdict

_FEW = 5
"""How many names are shown of a long list."""


def table_rows(report: Report) -> list[list[str]]:
    """Rows of a table by area and level: how many of the ``COUNTED`` requirements are kept, and the time of checks.

    An area without a check that was run has no row. Several processes check at once, so a run is shorter than the sum.

    :param report: the content of a ``report.json``.
    """
    records, seconds = report["requirements"], seconds_by_area(report)
    areas = {area: [each for each in records if area_of(each) == area] for area in seconds}
    return [
        ["", *(level.value for level in Level), "time of checks"],
        *([area, *_cells(found), f"{seconds[area]:.0f} s"] for area, found in areas.items()),
        ["all", *_cells(records), f"{sum(seconds.values()):.0f} s"],
    ]


def _cells(records: Sequence[Record]) -> list[str]:
    cells = []
    for level in Level:
        counts = Counter(each["verdict"] for each in records if each["level"] == level.value)
        counted = sum(counts[verdict.value] for verdict in COUNTED)
        cells.append(f"{sum(counts[verdict.value] for verdict in KEPT)} of {counted}" if counted else "-")
    return cells


def remarks(report: Report, known: Collection[str] = ()) -> list[str]:
    """Lines on verdicts that the table does not show: known failures, differences, not applicable, not to be judged.

    :param report: the content of a ``report.json``.
    :param known: ids on the list of known failures: a MUST that differs on purpose counts as failed unless it is there.
    """
    records, options = report["requirements"], report["options"]
    counts = Counter(each["verdict"] for each in records)
    advice = "" if options.get("update_known_failures") else "; drop the lines"
    fails = ", and with --cosmos-strict the run fails" if options.get("strict") else ""
    listed = _ids(records, Verdict.KNOWN_FAILURE)
    passed = _ids(records, Verdict.UNEXPECTED_PASS)
    differs = _ids([each for each in records if each["level"] == Level.MUST.value], Verdict.DIFFERS)
    undone = [unique for unique in differs if unique not in known]
    said = "a MUST that differs on purpose counts as failed unless --cosmos-known-failures=FILE lists it"
    return [
        f"requirements: {', '.join(f'{counts[each.value]} {each.value}' for each in Verdict if counts[each.value])}",
        *([f"known failures: {', '.join(listed)}"] if listed else []),
        *([f"on the list of known failures, and passed: {', '.join(passed)}{advice}{fails}"] if passed else []),
        *([f"{said}: {', '.join(undone)}"] if undone else []),
        *_by_reason(records, Verdict.NOT_APPLICABLE, "not applicable"),
        *_by_reason(records, Verdict.NOT_RUN, "that cannot be judged here"),
    ]


def _ids(records: Sequence[Record], verdict: Verdict) -> list[str]:
    return [each["id"] for each in records if each["verdict"] == verdict.value]


def _by_reason(records: Sequence[Record], verdict: Verdict, words: str) -> list[str]:
    """Lines on tests that were left out or skipped: each reason, and the requirements that it concerns."""
    found = [each for each in records if each["verdict"] == verdict.value and each["evidence"]]
    by_reason: dict[str, list[str]] = {}
    for each in found:
        for text in dict.fromkeys(each["evidence"]):
            reason = text.removeprefix("Skipped: ").removeprefix(f"{verdict.value}: ").rstrip(".")
            by_reason.setdefault(reason, []).append(each["id"])
    told = [f"  {reason}: {a_few(names)}" for reason, names in by_reason.items()]
    return [f"{len(found)} {words}:", *told] if found else []


def a_few(names: Sequence[str]) -> str:
    """The first names, and how many more there are.

    :param names: in the order in which they are told.
    """
    more = len(names) - _FEW
    return ", ".join([*names[:_FEW], *([f"and {more} more"] if more > 0 else [])])
