"""The end of a run's output: each failure with the command that repeats it, then the overview.

The overview is a table, area by level, and lines on what was not judged. A job of a CI shows it too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pytest

from pytest_cosmos_venv.suite import SuiteExit
from pytest_cosmos_venv.text_table import table_lines

from ..requirements import Level
from .comparison import Record, Report, Row, rows, seconds_by_area, tallies
from .verdicts import Judgement, SmokeFailure, Verdict

_CONDITIONS = ("installer", "rounds", "profiles", "timeout", "dbt_kind")
"""Options that a verdict may depend on."""
_SHOWN_LINES = 25
"""Lines of evidence that are shown for one requirement."""
_SHOWN_IN_ALL = 40_000
"""Characters of evidence that are shown in a whole run; each failure beyond has one line."""
_WIDEST = 400
"""Characters that are shown of one line."""
_FEW = 5
"""How many names are shown of a long list."""
# Escape sequences of terminals: a task may write one that clears the screen, or moves the cursor over other words.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)|\x9b[0-?]*[ -/]*[@-~]")


def print_judgements(
    terminal: pytest.TerminalReporter,
    judgements: Sequence[Judgement],
    *,
    implementation: str,
    report: Report,
    known: Collection[str] = (),
) -> None:
    """Print the verdicts on what was run.

    :param terminal: the terminal to write to.
    :param judgements: the judgements of the run.
    :param implementation: the implementation, as ``--cosmos-implementation`` takes it.
    :param report: the report of the run.
    :param known: ids on the list of known failures.
    """
    if not any(each.seen for each in judgements):
        return
    failed = [each for each in judgements if each.verdict in (Verdict.FAILED, Verdict.HARNESS_ERROR)]
    room = _SHOWN_IN_ALL
    for judgement, following in by_root(failed):
        lines = shown(judgement.evidence, most=_SHOWN_LINES if room > 0 else 1)
        room -= sum(map(len, lines))
        one = judgement.requirement
        terminal.section(f"{one.id} {one.level.value}: {judgement.verdict.value}", sep="-", red=True)
        for line in (one.sentence, *(f"  {line}" for line in lines)):
            terminal.line(line)
        if following:
            terminal.line(f"  fails with it: {', '.join(each.requirement.id for each in following)}")
        terminal.line(f"  again: {again(one.id, implementation, report['options'])}")
    terminal.section("conformance")
    for line in [*table_lines(table_rows(report)), *remarks(report, known)]:
        terminal.line(line)


def print_smoke_failure(terminal: pytest.TerminalReporter, failure: SmokeFailure) -> None:
    """Say that nothing was judged, and why.

    :param terminal: the terminal to write to.
    :param failure: the first smoke check that failed.
    """
    terminal.section("conformance: nothing was judged", red=True)
    # No report keeps this output, so its end is shown too: most programs say at the end what went wrong.
    lines = failure.said.splitlines()
    if (left_out := len(lines) - 2 * _SHOWN_LINES) > 0:
        lines[_SHOWN_LINES:-_SHOWN_LINES] = [f"({left_out} more lines)"]
    for line in map(_cut, lines):
        terminal.line(line)
    terminal.line(
        f"The smoke check {failure.check} failed, so the environment or the adapter is at fault, not a requirement. "
        f"Repair it and run again (exit code {SuiteExit.SMOKE_FAILED:d})."
    )


def by_root(failed: Sequence[Judgement]) -> list[tuple[Judgement, list[Judgement]]]:
    """Group failures by root cause: (root, all failures that depend on it, directly or not).

    A root that is not in ``failed``, such as a known failure, is not shown. Failures that depend on it stand alone.

    :param failed: the judgements of all that failed.
    """
    by_id = {each.requirement.id: each for each in failed}

    def told_under(judgement: Judgement) -> Judgement:
        root = by_id.get(judgement.root or "")
        return judgement if root is None else told_under(root)

    following: dict[str, list[Judgement]] = {}
    for each in failed:
        following.setdefault(told_under(each).requirement.id, []).append(each)
    return [(by_id[name], [each for each in group if each is not by_id[name]]) for name, group in following.items()]


def again(requirement: str, implementation: str, options: Mapping[str, object]) -> str:
    """The command that judges one requirement again, under the conditions of this run.

    :param requirement: its id.
    :param implementation: the implementation, as ``--cosmos-implementation`` takes it.
    :param options: the options of the run, by the words after ``--cosmos-``.
    """
    told = {"implementation": implementation, "requirement": requirement}
    told |= {name: str(options[name]) for name in _CONDITIONS if options.get(name)}
    words = ["pytest --cosmos-conformance", *(["--cosmos-servers"] if options.get("servers") else [])]
    return " ".join([*words, *(f"--cosmos-{name.replace('_', '-')}={value}" for name, value in told.items())])


def shown(evidence: Sequence[str], *, most: int = _SHOWN_LINES) -> list[str]:
    """The lines of evidence that a terminal shows: no line twice, long lines cut, and no more than a screen of lines.

    :param evidence: what the tests of a requirement have seen.
    :param most: how many lines at the most.
    """
    lines = list(dict.fromkeys(line for text in evidence for line in text.splitlines()))
    left_out = [f"({len(lines) - most} more lines; --cosmos-report=DIR keeps them)"] if len(lines) > most else []
    return [*map(_cut, lines[:most]), *left_out]


def _cut(line: str) -> str:
    line = "".join(letter for letter in _SEQUENCE.sub("", line) if letter.isprintable() or letter == "\t")
    rest = len(line) - _WIDEST
    return line if rest <= 0 else f"{line[:_WIDEST]} ... ({rest} more characters)"


def table_rows(report: Report) -> list[list[str]]:
    """Rows of a table by area and level: how many of the ``COUNTED`` requirements are kept, and the time of checks.

    An area without a check that was run has no row. Several processes check at once, so a run is shorter than the sum.

    :param report: the content of a ``report.json``.
    """
    found, seconds = rows([report]), seconds_by_area(report)
    return [
        ["", *(level.value for level in Level), "time of checks"],
        *([area, *_cells([row for row in found if row.area == area]), f"{seconds[area]:.0f} s"] for area in seconds),
        ["all", *_cells(found), f"{sum(seconds.values()):.0f} s"],
    ]


def _cells(found: Sequence[Row]) -> list[str]:
    by_level = tallies(found, 1, by=lambda row: row.level.value)
    return [str(by_level[level.value][0]) if level.value in by_level else "-" for level in Level]


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
