"""What an implementation that fails much prints at the end of a run stays within bounds, and tells each failure."""

from __future__ import annotations

import io

import pytest

from conformance.reporting.terminal import print_judgements, print_smoke_failure
from conformance.reporting.verdicts import Judgement, SmokeFailure, Verdict
from conformance.requirements import Level
from tests.conformance.reporting.test_report import judged, reported

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


def printed(*found: Judgement) -> str:
    terminal = _Printed()
    print_judgements(terminal, found, implementation="tiny", report=reported(*found))  # type: ignore[arg-type] # as far as it asks
    return terminal.text


def failed(unique: str, evidence: str) -> Judgement:
    return judged(unique, Level.MUST, Verdict.FAILED, evidence=evidence)


def test_each_of_many_failures_is_told_within_bounds() -> None:
    names = [f"A-{number:03d}" for number in range(MANY)]
    logs = {name: "".join(f"\n{name} {n} {'x' * 500}" for n in range(40)) for name in names}

    text = printed(*(failed(name, f"it must hold; seen: {name}{log}") for name, log in logs.items()))

    assert len(text) < 120_000
    assert [name for name in names if f"seen: {name}\n" not in text] == []
    assert [name for name in names if f"--cosmos-requirement={name} " not in text] == []
    assert "more lines; --cosmos-report=DIR keeps them" in text
    assert "more characters)" in text


@pytest.mark.parametrize("said", ["\n".join(f"line {n}" for n in range(9000)), "x" * 900_000], ids=["lines", "width"])
def test_a_smoke_check_that_failed_says_no_more_than_two_screens(said: str) -> None:
    terminal = _Printed()

    print_smoke_failure(terminal, SmokeFailure(check="test_smoke.py::test_it", said=said))  # type: ignore[arg-type]

    assert len(terminal.text) < 5000
    assert said.splitlines()[-1][:100] in terminal.text


def test_what_a_task_writes_does_nothing_to_the_terminal() -> None:
    text = printed(failed("A-001", "seen: \x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07 and\x08\x9b3A \x00done"))

    assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == []
    assert "  seen: red" in text
    assert "done\n" in text
