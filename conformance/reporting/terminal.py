"""The end of a run's output: a table, area by level, and each failure with the command that repeats it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import pytest

from pytest_cosmos_venv.suite import SuiteExit

from ..requirements import Level
from .verdicts import COUNTED, KEPT, Judgement, SmokeFailure, Verdict, is_undone_promise

_CONDITIONS = ("installer", "rounds", "profiles", "timeout", "dbt_kind")
"""Options under which a verdict may be another one."""
_SHOWN_LINES = 25
"""Lines that are shown of what was seen of one requirement."""
_SHOWN_CHARACTERS = 3000
"""The same in characters: the line that goes beyond is the last."""
_SHOWN_IN_ALL = 40_000
"""Characters that are shown of what was seen in a whole run; each failure beyond that has one line."""
_WIDEST = 400
"""Characters that are shown of one line."""
_WIDTH = 15
_FEW = 5
"""Names that are told of many."""
# A task may write what clears a terminal, or moves the cursor to where other words stand.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)|\x9b[0-?]*[ -/]*[@-~]")


def print_judgements(
    terminal: pytest.TerminalReporter,
    judgements: Sequence[Judgement],
    *,
    implementation: str,
    options: Mapping[str, object],
    known: Collection[str] = (),
) -> None:
    """Print the verdicts on what was run.

    :param terminal: the terminal to write to.
    :param judgements: the judgements of the run.
    :param implementation: the implementation, as ``--cosmos-implementation`` takes it.
    :param options: the options of the run, by the words after ``--cosmos-``.
    :param known: ids on the list of known failures.
    """
    if not any(each.seen for each in judgements):
        return
    failed = [each for each in judgements if each.verdict in (Verdict.FAILED, Verdict.HARNESS_ERROR)]
    told: set[str] = set()
    room = _SHOWN_IN_ALL
    for judgement, following in by_root(failed):
        lines = shown(judgement.evidence, told, most=_SHOWN_LINES if room > 0 else 1)
        room -= sum(map(len, lines))
        _print_failure(terminal, judgement, following, lines)
        terminal.line(f"  again: {again(judgement.requirement.id, implementation, options)}")
    terminal.section("conformance")
    strict, is_updated = bool(options.get("strict")), bool(options.get("update_known_failures"))
    lines = [
        *table(judgements),
        *listed(judgements, strict=strict, is_updated=is_updated),
        *undone_promises(judgements, known),
        *not_applicable(judgements),
        *not_judged_here(judgements),
    ]
    for line in lines:
        terminal.line(line)


def print_smoke_failure(terminal: pytest.TerminalReporter, failure: SmokeFailure) -> None:
    """Say that nothing was judged, and why.

    :param terminal: the terminal to write to.
    :param failure: the first smoke check that failed.
    """
    terminal.section("conformance: nothing was judged", red=True)
    # No report keeps the rest, so its end is shown too, where most programs say what went wrong.
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

    A root that is no failure here (a known one) is told nowhere, so what depends on it is told for itself.

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


def shown(evidence: Sequence[str], told: set[str], *, most: int = _SHOWN_LINES) -> list[str]:
    """The lines of evidence that a terminal shows: none twice, no long one whole, and no more than a screen of them.

    :param evidence: what the tests of a requirement have seen.
    :param told: the lines that were shown before; those of this requirement are added.
    :param most: how many at the most.
    """
    lines = [line for text in evidence for line in text.splitlines()]
    found: list[str] = []
    for line in dict.fromkeys(lines):
        is_full = len(found) == most or sum(map(len, found)) > _SHOWN_CHARACTERS
        # The first line is what failed, and may be all that was seen.
        if (line not in told or not found) and not is_full:
            told.add(line)
            found.append(_cut(line))
    left_out = len(lines) - len(found)
    return [*found, *([f"({left_out} more lines; --cosmos-report=DIR keeps them)"] if left_out else [])]


def _cut(line: str) -> str:
    line = "".join(letter for letter in _SEQUENCE.sub("", line) if letter.isprintable() or letter == "\t")
    rest = len(line) - _WIDEST
    return line if rest <= 0 else f"{line[:_WIDEST]} ... ({rest} more characters)"


def undone_promises(judgements: Sequence[Judgement], known: Collection[str]) -> list[str]:
    """Lines on what is a MUST and differs on purpose, which counts as failed.

    :param judgements: the judgements of the run.
    :param known: ids on the list of known failures.
    """
    names = [each.requirement.id for each in judgements if is_undone_promise(each, known)]
    said = "a MUST that differs on purpose counts as failed unless --cosmos-known-failures=FILE lists it"
    return [f"{said}: {', '.join(names)}"] if names else []


def table(judgements: Sequence[Judgement]) -> list[str]:
    """Lines of a table: how many are kept of those that are ``COUNTED``, by area and level, and the time of checks.

    An area of which nothing was run has no row. Processes check at the same time: a
    run is shorter than the sum.

    :param judgements: the judgements of the run.
    """
    areas = list(dict.fromkeys(each.requirement.area for each in judgements if each.seen))
    lines = [_line("", *(level.value for level in Level), "time of checks")]
    lines += [_row(area, [each for each in judgements if each.requirement.area == area]) for area in areas]
    lines.append(_row("all", judgements))
    counts = [(verdict, sum(each.verdict is verdict for each in judgements)) for verdict in Verdict]
    lines.append(f"requirements: {', '.join(f'{count} {verdict.value}' for verdict, count in counts if count)}")
    return lines


def _row(name: str, judgements: Sequence[Judgement]) -> str:
    cells = [_cell([each for each in judgements if each.requirement.level is level]) for level in Level]
    seconds = {each.test: each.seconds for judgement in judgements for each in judgement.seen}
    return _line(name, *cells, f"{sum(seconds.values()):.0f} s")


def _line(*words: str) -> str:
    return "".join(f"{word:<{_WIDTH}}" for word in words).rstrip()


def _cell(judgements: Sequence[Judgement]) -> str:
    counted = [each for each in judgements if each.verdict in COUNTED]
    kept = sum(each.verdict in KEPT for each in counted)
    return f"{kept} of {len(counted)}" if counted else "-"


def listed(judgements: Sequence[Judgement], *, strict: bool, is_updated: bool = False) -> list[str]:
    """Lines on what stands on the list of known failures, and was judged.

    :param judgements: the judgements of the run.
    :param strict: whether what passed unexpectedly makes the run fail.
    :param is_updated: whether the run brings the list up to date itself.
    """
    by_verdict = {
        verdict: ", ".join(each.requirement.id for each in judgements if each.verdict is verdict)
        for verdict in (Verdict.KNOWN_FAILURE, Verdict.UNEXPECTED_PASS)
    }
    known, passed = by_verdict.values()
    advice = "" if is_updated else "; drop the lines"
    fails = ", and with --cosmos-strict the run fails" if strict else ""
    return [
        *([f"known failures: {known}"] if known else []),
        *([f"on the list of known failures, and passed: {passed}{advice}{fails}"] if passed else []),
    ]


def not_applicable(judgements: Sequence[Judgement]) -> list[str]:
    """Lines on what does not apply: each capability that is not declared, or another reason, and what needs it.

    :param judgements: the judgements of the run.
    """
    found = [each for each in judgements if each.verdict is Verdict.NOT_APPLICABLE]
    reasons = [(reason, each) for each in found for test in each.seen for reason in test.reasons]
    told = [f"  {reason}: {a_few(names)}" for reason, names in _by_reason(reasons).items()]
    return [f"{len(found)} not applicable:", *told] if told else []


def _by_reason(found: Iterable[tuple[str, Judgement]]) -> dict[str, list[str]]:
    """Reason -> the ids of the requirements to which it applies, each once."""
    by_reason: dict[str, dict[str, None]] = {}
    for reason, each in found:
        by_reason.setdefault(reason.removeprefix("Skipped: "), {})[each.requirement.id] = None
    return {reason: list(names) for reason, names in by_reason.items()}


def a_few(names: Sequence[str]) -> str:
    """The first names, and how many more there are.

    :param names: in the order in which they are told.
    """
    more = len(names) - _FEW
    return ", ".join([*names[:_FEW], *([f"and {more} more"] if more > 0 else [])])


def not_judged_here(judgements: Sequence[Judgement]) -> list[str]:
    """Lines on what cannot be judged here, each reason with the requirements that it keeps from being judged.

    :param judgements: the judgements of the run.
    """
    found = [each for each in judgements if each.cannot_be_judged_here]
    reasons = _by_reason((reason, each) for each in found for reason in each.evidence)
    told = [f"  {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return [f"{len(found)} that cannot be judged here:", *told] if found else []
