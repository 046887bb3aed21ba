"""What does a run say at its end? A table, area by level, and each failure with the line that repeats it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .judging import Judgement, Verdict
from .requirements import Level

_SHOWN_LINES = 25
_WIDTH = 15


def print_judgements(
    terminal: pytest.TerminalReporter, judgements: Sequence[Judgement], *, implementation: str
) -> None:
    """Print the verdicts on what was run.

    :param implementation: as ``--cosmos-implementation`` takes it.
    """
    if all(each.verdict is Verdict.NOT_RUN for each in judgements):
        return
    failed = [each for each in judgements if each.verdict in (Verdict.FAILED, Verdict.HARNESS_ERROR)]
    for judgement in failed:
        if judgement.root is None:
            _print_failure(terminal, judgement, [each for each in failed if each.root == judgement.requirement.id])
            terminal.line(f"  again: {again(judgement.requirement.id, implementation)}")
    terminal.section("conformance")
    for line in table(judgements):
        terminal.line(line)


def again(requirement: str, implementation: str) -> str:
    """The command that judges one requirement again."""
    return f"pytest --cosmos-conformance --cosmos-implementation={implementation} --cosmos-requirement={requirement}"


def _print_failure(terminal: pytest.TerminalReporter, judgement: Judgement, following: Sequence[Judgement]) -> None:
    one = judgement.requirement
    level = "" if one.level is None else one.level.value
    terminal.section(f"{one.id} {level}: {judgement.verdict.value}", sep="-", red=True)
    terminal.line(one.sentence)
    for text in judgement.evidence:
        lines = text.splitlines()
        for line in lines[:_SHOWN_LINES]:
            terminal.line(f"  {line}")
        if len(lines) > _SHOWN_LINES:
            terminal.line(f"  ({len(lines) - _SHOWN_LINES} more lines)")
    if following:
        terminal.line(f"  fails with it: {', '.join(each.requirement.id for each in following)}")


def table(judgements: Sequence[Judgement]) -> list[str]:
    """Lines of a table: passed of those that apply, for each area and level."""
    areas = list(dict.fromkeys(each.requirement.area for each in judgements))
    lines = ["".join(f"{word:<{_WIDTH}}" for word in ("", *(level.value for level in Level))).rstrip()]
    lines += [_row(area, [each for each in judgements if each.requirement.area == area]) for area in areas]
    lines.append(_row("all", judgements))
    counts = [(verdict, sum(each.verdict is verdict for each in judgements)) for verdict in Verdict]
    lines.append(", ".join(f"{count} {verdict.value}" for verdict, count in counts if count))
    return lines


def _row(name: str, judgements: Sequence[Judgement]) -> str:
    cells = [_cell([each for each in judgements if each.requirement.level is level]) for level in Level]
    return "".join(f"{word:<{_WIDTH}}" for word in (name, *cells)).rstrip()


def _cell(judgements: Sequence[Judgement]) -> str:
    applying = [each for each in judgements if each.verdict is not Verdict.NOT_APPLICABLE]
    passed = sum(each.verdict in (Verdict.PASSED, Verdict.UNEXPECTED_PASS) for each in applying)
    return f"{passed} of {len(applying)}" if applying else "-"
