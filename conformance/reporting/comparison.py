"""Reports side by side: a row for each requirement, a tally for each level and area, a label for each report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..requirements import Level
from .verdicts import COUNTED, KEPT, Verdict

Report = Mapping[str, Any]
Record = Mapping[str, Any]
"""One requirement in a report, as ``report.json`` has them."""

NOT_IN_IT = "not in it"
DIFFERS = "differs"


@dataclass(frozen=True)
class Look:
    """The look of a verdict, which is never shown by its color alone.

    :param glyph: one character.
    :param tone: ``good``, ``bad``, ``odd`` or ``none``: the style sheet's classes.
    :param meaning: what the verdict says, for the legend.
    """

    glyph: str
    tone: str
    meaning: str


LOOKS: Mapping[str, Look] = {
    Verdict.PASSED.value: Look("✓", "good", "true"),
    Verdict.UNEXPECTED_PASS.value: Look("+", "odd", "on that list, and passed"),
    Verdict.FAILED.value: Look("✗", "bad", "not true"),
    DIFFERS: Look("≠", "odd", "not true, and promised by nobody"),
    Verdict.KNOWN_FAILURE.value: Look("~", "odd", "failed, and its own list says so"),
    Verdict.HARNESS_ERROR.value: Look("!", "bad", "the suite failed, not the implementation"),
    Verdict.DIFFERS.value: Look("◇", "odd", "not kept, and declared with a reason"),
    Verdict.NOT_RUN.value: Look("·", "none", "left out, cut off, or not to be judged on that machine"),
    Verdict.NOT_APPLICABLE.value: Look("○", "none", "needs a capability that is not declared"),
    NOT_IN_IT: Look("-", "none", "the report knows no such requirement"),
}
"""Word for the result of a requirement -> its look, the best result first."""
_COUNTED = (DIFFERS, *COUNTED)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One requirement in all reports.

    :param id: the requirement's id, such as ``LOCK-003``.
    :param area: the requirement's area, such as ``LOCK``.
    :param level: the requirement's level.
    :param record: the record of the first report that has it.
    :param cells: its record in each report; None where a report has no such requirement.
    """

    id: str
    area: str
    level: Level
    record: Record
    cells: tuple[Record | None, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The verdict of each report. Among several reports, a failure of a SHOULD or a BEYOND is a difference."""
        return tuple(self._word(cell) for cell in self.cells)

    @property
    def is_alike(self) -> bool:
        """Whether all reports that have run the requirement have the same word for it."""
        return len(set(self._said)) == 1

    @property
    def word(self) -> str:
        """The common verdict, where they are alike."""
        return self._said[0]

    @property
    def _said(self) -> Sequence[str]:
        return [word for word in self.words if word != Verdict.NOT_RUN.value] or self.words

    def _word(self, cell: Record | None) -> str:
        if cell is None:
            return NOT_IN_IT
        is_promise = len(self.cells) == 1 or self.level is Level.MUST
        return DIFFERS if cell["verdict"] == Verdict.FAILED.value and not is_promise else str(cell["verdict"])


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The number of requirements of a group that are kept.

    :param counts: word, as in ``Row.words`` -> how many, passed ones first.
    """

    counts: Mapping[str, int]

    @property
    def kept(self) -> int:
        """The number of requirements that are kept."""
        return sum(count for word, count in self.counts.items() if word in KEPT)

    @property
    def counted(self) -> int:
        """The number of requirements that were judged or are declared to differ, whether they are kept or not."""
        return sum(count for word, count in self.counts.items() if word in _COUNTED)

    @property
    def applies_to_nothing(self) -> bool:
        """Whether no requirement of the group applies."""
        return set(self.counts) <= {Verdict.NOT_APPLICABLE.value}

    def __str__(self) -> str:
        return f"{self.kept} of {self.counted}" if self.counted else "-"


def rows(reports: Sequence[Report]) -> list[Row]:
    """All requirements of all reports, by level, then by id.

    :param reports: each as ``report.json`` has it.
    """
    by_id = [{record["id"]: record for record in report["requirements"]} for report in reports]
    found = []
    for unique in {one for each in by_id for one in each}:
        cells = tuple(each.get(unique) for each in by_id)
        first = next(filter(None, cells))
        found.append(Row(id=unique, area=area_of(first), level=Level(first["level"]), record=first, cells=cells))
    return sorted(found, key=lambda row: (row.level.rank, row.id))


def tallies(found: Iterable[Row], count: int, *, by: Callable[[Row], str]) -> dict[str, tuple[Tally, ...]]:
    """Group -> the tally of each report.

    :param found: all rows.
    :param count: number of reports.
    :param by: the group of a row: its level, or its area.
    """
    groups: dict[str, list[Row]] = {}
    for row in found:
        groups.setdefault(by(row), []).append(row)
    return {name: tuple(_tally(each, index) for index in range(count)) for name, each in groups.items()}


def _tally(found: Sequence[Row], index: int) -> Tally:
    seen = Counter(row.words[index] for row in found)
    return Tally(counts={word: seen[word] for word in LOOKS if seen[word]})


def version_in_words(specification: str, options: Mapping[str, Any]) -> str:
    """The version of the specification, and the version up to which requirements were judged, if one was asked for.

    :param specification: the version whose sentences and levels counted.
    :param options: the options of the run, as a report has them.
    """
    asked = options.get("spec")
    return f"{specification}, requirements of {asked}" if asked else specification


def area_of(record: Record) -> str:
    """The area of a requirement, such as ``LOCK``.

    :param record: the requirement in a report.
    """
    return str(record["id"]).partition("-")[0]


def seconds_by_area(report: Report) -> dict[str, float]:
    """Area with checks that were run -> seconds of these checks; several checks may run at the same time.

    :param report: the content of a ``report.json``.
    """
    found: dict[str, float] = {}
    for one in report["requirements"]:
        if one["tests"]:
            found[area_of(one)] = found.get(area_of(one), 0.0) + sum(test["seconds"] for test in one["tests"])
    return found


def profiles_not_judged(report: Report) -> list[str]:
    """Names of the profiles by which the implementation was not judged.

    :param report: the content of a ``report.json``; reports before 1.2 know no profiles.
    """
    return list(report.get("profiles", {}).get("not_judged", ()))


def labels(reports: Sequence[Report]) -> list[str]:
    """A name for each report: implementation and version, and whether it is partial. If names are equal, Airflow and
    installer are added, and then the time.

    :param reports: each as ``report.json`` has it.
    """
    names = [
        f"{each['implementation']['name']} {each['implementation']['version']}"
        f"{' (partial)' if profiles_not_judged(each) else ''}"
        for each in reports
    ]
    ways = [f"Airflow {each['environment']['airflow']}, {each['environment']['installer']}" for each in reports]
    told = [f"{name}, {way}" if names.count(name) > 1 else name for name, way in zip(names, ways, strict=True)]
    days = [str(each["started"])[:19].replace("T", " ") for each in reports]
    return [f"{one}, {day}" if told.count(one) > 1 else one for one, day in zip(told, days, strict=True)]
