"""The end of a run's output: a table, area by level, and each failure with the command that repeats it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import pytest

from pytest_cosmos_venv.suite import SuiteExit
from pytest_cosmos_venv.text_table import table_lines

from .comparison import Report
from .overview import remarks, table_rows
from .verdicts import Judgement, SmokeFailure, Verdict

_CONDITIONS = ("installer", "rounds", "profiles", "timeout", "dbt_kind")
"""Options that a verdict may depend on."""
_SHOWN_LINES = 25
"""Lines of evidence that are shown for one requirement."""
_SHOWN_IN_ALL = 40_000
"""Characters of evidence that are shown in a whole run; each failure beyond has one line."""
_WIDEST = 400
"""Characters that are shown of one line."""
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
        _print_failure(terminal, judgement, following, lines)
        terminal.line(f"  again: {again(judgement.requirement.id, implementation, report['options'])}")
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
    left_out = len(lines) - 2 * _SHOWN_LINES
    between = [f"({left_out} more lines)"] if left_out > 0 else []
    first, last = (lines[:_SHOWN_LINES], lines[-_SHOWN_LINES:]) if between else (lines, [])
    for line in (*map(_cut, first), *between, *map(_cut, last)):
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


def _print_failure(
    terminal: pytest.TerminalReporter, judgement: Judgement, following: Sequence[Judgement], seen: Sequence[str]
) -> None:
    one = judgement.requirement
    terminal.section(f"{one.id} {one.level.value}: {judgement.verdict.value}", sep="-", red=True)
    terminal.line(one.sentence)
    for line in seen:
        terminal.line(f"  {line}")
    if following:
        terminal.line(f"  fails with it: {', '.join(each.requirement.id for each in following)}")


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
