"""What an implementation that fails much prints at the end of a run stays within bounds, and tells each failure."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from conformance.reporting.terminal import not_applicable, print_judgements, print_smoke_failure
from conformance.reporting.verdicts import Judgement, SmokeFailure, judge
from tests.conformance.reporting.test_verdicts import F, N, P, required, seen, specified

MANY = 180
"""As many as there are requirements of an ordinary run."""


class _Printed:
    """A terminal as far as the suite asks for one."""

    def __init__(self) -> None:
        self._text = io.StringIO()

    def line(self, text: str) -> None:
        self._text.write(f"{text}\n")

    def section(self, title: str, **_: object) -> None:
        self.line(f"== {title} ==")

    @property
    def text(self) -> str:
        return self._text.getvalue()


def failing(count: int) -> list[Judgement]:
    """Failures, each with a log of its own that is long in lines and in their width."""
    names = [f"A-{number:03d}" for number in range(count)]
    logs = {name: [f"it must hold; seen: {name}", *(f"{name} {n} {'x' * 5000}" for n in range(200))] for name in names}
    return judge(specified(*map(required, names)), [seen(name, F, "\n".join(log)) for name, log in logs.items()])


def printed(found: list[Judgement]) -> str:
    terminal = _Printed()
    print_judgements(terminal, found, implementation="tiny", options={})  # type: ignore[arg-type] # as far as it asks
    return terminal.text


def test_all_that_failed_is_told_in_little_more_than_a_hundred_thousand_letters() -> None:
    text = printed(failing(MANY))

    assert len(text) < 120_000
    assert [n for n in range(MANY) if f"seen: A-{n:03d}\n" not in text] == []
    assert [n for n in range(MANY) if f"--cosmos-requirement=A-{n:03d}\n" not in text] == []


def test_a_few_failures_are_shown_with_a_screen_of_lines_each() -> None:
    text = printed(failing(3))

    assert text.count("more lines; --cosmos-report=DIR keeps them") == 3
    assert text.count("more characters)") >= 3 * 5


@pytest.mark.parametrize("said", ["\n".join(f"line {n}" for n in range(9000)), "x" * 900_000], ids=["lines", "width"])
def test_a_smoke_check_that_failed_says_no_more_than_two_screens(said: str) -> None:
    terminal = _Printed()

    print_smoke_failure(terminal, SmokeFailure(check="test_smoke.py::test_it", said=said))  # type: ignore[arg-type]

    assert len(terminal.text) < 5000
    assert said.splitlines()[-1][:100] in terminal.text


def test_what_was_told_before_is_still_told_where_it_is_all_that_was_seen() -> None:
    tests = [seen("A-001", F, "the process is gone\nfor good"), seen("A-002", F, "the process is gone\nfor good")]

    text = printed(judge(specified(required("A-001"), required("A-002")), tests))

    assert text.count("  the process is gone\n") == 2
    assert text.count("  for good\n") == 1


def test_what_a_task_writes_does_nothing_to_the_terminal() -> None:
    said = "seen: \x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07 and\x08\x9b3A \x00done"

    text = printed(judge(specified(required("A-001")), [seen("A-001", F, said)]))

    assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == []
    assert "  seen: red" in text
    assert "done\n" in text


def test_what_does_not_apply_is_told_by_what_is_lacking() -> None:
    needs: dict[str, tuple[str, ...]] = {
        f"A-{n:03d}": ("dags", "manifest") if n == 1 else ("dags",) for n in range(1, 8)
    }
    needs |= {"B-001": ("python_dbt",), "B-002": ()}
    reasons = {unique: tuple(f"{name} is not declared" for name in each) for unique, each in needs.items()}
    reasons |= {"B-001": ("the dbt of this run is a native one",), "B-002": ("dags: it has no operator for dbt ls",)}
    one_case = seen("B-002", N, reasons=reasons["B-002"])
    tests = [seen(unique, N, "Skipped", reasons[unique]) for unique in needs if unique != "B-002"]
    specification = specified(*(replace(required(unique), needs=each) for unique, each in needs.items()))

    assert not_applicable(judge(specification, [*tests, one_case, seen("B-002", P)])) == [
        "8 not applicable:",
        "  dags is not declared: A-001, A-002, A-003, A-004, A-005, and 2 more",
        "  manifest is not declared: A-001",
        "  the dbt of this run is a native one: B-001",
    ]
    assert not_applicable(judge(specification, [])) == []
    assert "  manifest is not declared: A-001\n" in printed(judge(specification, tests))
