"""The list of failures that an implementation owns up to."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from conformance.judging import Judgement, Verdict
from conformance.known_failures import KnownFailure, KnownFailuresError, read_known_failures, write_known_failures
from conformance.requirements import Level, Requirement

TODAY = date(2026, 11, 21)
SPECIFICATION = {
    unique: Requirement(id=unique, level=level, sentence="It holds.", sources=("a page",))
    for unique, level in (("LOCK-001", Level.MUST), ("LOCK-002", Level.SHOULD), ("KILL-001", None))
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "known-failures.txt"


def test_a_line_has_a_requirement_a_reason_a_link_and_a_day(file: Path) -> None:
    file.write_text("# ours\n\nLOCK-001 | tasks wait | https://issues/1 | 2026-11-21\nLOCK-002 | later\n")

    known = read_known_failures(str(file), SPECIFICATION, today=TODAY)

    assert list(known.values()) == [
        KnownFailure(requirement="LOCK-001", reason="tasks wait", link="https://issues/1", until=TODAY),
        KnownFailure(requirement="LOCK-002", reason="later"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("LOCK-009 | why", "line 1: 'LOCK-009' is no requirement", id="unknown"),
        pytest.param("KILL-001 | why", "'KILL-001' is no requirement", id="withdrawn"),
        pytest.param("LOCK-001 | why\nLOCK-001 | why", "line 2: LOCK-001 stands there twice", id="twice"),
        pytest.param("LOCK-001", "LOCK-001 has no reason", id="no-reason"),
        pytest.param("LOCK-001 | why | link | soon", "'soon' is no day", id="no-day"),
        pytest.param("LOCK-001 | why | | 2026-11-20", "was to be mended until 2026-11-20", id="over"),
    ],
)
def test_a_list_that_is_not_true_any_more_is_refused(file: Path, text: str, message: str) -> None:
    file.write_text(text)

    with pytest.raises(KnownFailuresError, match=message):
        read_known_failures(str(file), SPECIFICATION, today=TODAY)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        KnownFailuresError, match=r"--cosmos-known-failures=.*missing\.txt cannot be read: No such file"
    ):
        read_known_failures(str(tmp_path / "missing.txt"), SPECIFICATION)


def test_the_list_is_written_anew_from_a_run_with_the_reasons_that_stood_there(file: Path) -> None:
    file.write_text("LOCK-001 | tasks wait | https://issues/1 | 2030-01-01\nLOCK-002 | mended by now\n")
    known = read_known_failures(str(file), SPECIFICATION, today=TODAY)
    verdicts = {"LOCK-001": Verdict.KNOWN_FAILURE, "LOCK-002": Verdict.UNEXPECTED_PASS}

    write_known_failures(
        file, [Judgement(requirement=SPECIFICATION[each], verdict=verdicts[each]) for each in verdicts], known
    )

    assert list(read_known_failures(str(file), SPECIFICATION, today=TODAY).values()) == [known["LOCK-001"]]
