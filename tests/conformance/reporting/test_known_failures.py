"""The list of failures that an implementation owns up to."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from conformance.reporting.known_failures import (
    KnownFailure,
    read_known_failures,
    update_known_failures,
    updated,
)
from conformance.reporting.verdicts import Judgement, Verdict
from conformance.requirements import Level, Requirement

TODAY = date(2026, 11, 21)
SPECIFICATION = {
    unique: Requirement(id=unique, level=level, sentence="It holds.", sources=("a page",))
    for unique, level in (("LOCK-001", Level.MUST), ("LOCK-002", Level.SHOULD))
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
        pytest.param("LOCK-001 | why\nLOCK-001 | why", "line 2: LOCK-001 stands there twice", id="twice"),
        pytest.param("LOCK-001", "LOCK-001 has no reason", id="no-reason"),
        pytest.param("LOCK-001 | why | link | soon", "'soon' is no day", id="no-day"),
        pytest.param("LOCK-001 | why | | 2026-11-20", "was to be mended until 2026-11-20", id="over"),
    ],
)
def test_a_list_that_is_not_true_any_more_is_refused(file: Path, text: str, message: str) -> None:
    file.write_text(text)

    with pytest.raises(pytest.UsageError, match=message):
        read_known_failures(str(file), SPECIFICATION, today=TODAY)


def test_a_list_in_another_encoding_is_refused(file: Path) -> None:
    file.write_bytes("LOCK-002 | spät".encode("latin-1"))

    with pytest.raises(pytest.UsageError, match=r"known-failures\.txt is no UTF-8 .*Save the file as UTF-8"):
        read_known_failures(str(file), SPECIFICATION, today=TODAY)


def test_a_mark_at_the_beginning_belongs_to_no_line(file: Path) -> None:
    file.write_bytes("LOCK-001 | why\n".encode("utf-8-sig"))

    assert list(read_known_failures(str(file), SPECIFICATION, today=TODAY)) == ["LOCK-001"]
    assert update_known_failures(file, verdicts(LOCK_001=Verdict.FAILED)).added == ()


LIST = """# ours, by hand

LOCK-001 | tasks wait | https://issues/1 | 2030-01-01
LOCK-002 | mended by now
"""


def verdicts(**found: Verdict) -> list[Judgement]:
    return [
        Judgement(requirement=SPECIFICATION[name.replace("_", "-")], verdict=verdict) for name, verdict in found.items()
    ]


@pytest.mark.parametrize(
    ("found", "in_part", "gone"),
    [
        pytest.param({"LOCK_001": Verdict.KNOWN_FAILURE, "LOCK_002": Verdict.UNEXPECTED_PASS}, (), True, id="passed"),
        pytest.param({"LOCK_001": Verdict.NOT_RUN, "LOCK_002": Verdict.NOT_RUN}, (), False, id="not-judged"),
        pytest.param({"LOCK_002": Verdict.HARNESS_ERROR}, (), False, id="the-suite-failed"),
        pytest.param({"LOCK_002": Verdict.UNEXPECTED_PASS}, ("LOCK-002",), False, id="judged-in-part"),
        pytest.param({"LOCK_002": Verdict.NOT_APPLICABLE}, (), False, id="not-applicable"),
    ],
)
def test_a_line_goes_only_where_its_requirement_passed_and_all_else_stays_to_the_letter(
    found: dict[str, Verdict], in_part: tuple[str, ...], gone: bool
) -> None:
    update = updated(LIST, verdicts(**found), in_part=in_part)

    assert update.text == (LIST.replace("LOCK-002 | mended by now\n", "") if gone else LIST)
    assert update.dropped == (("LOCK-002",) if gone else ())


def test_what_fails_newly_is_added_and_said(file: Path) -> None:
    update = update_known_failures(file, verdicts(LOCK_001=Verdict.FAILED, LOCK_002=Verdict.PASSED))
    again = update_known_failures(file, verdicts(LOCK_001=Verdict.KNOWN_FAILURE, LOCK_002=Verdict.FAILED))

    assert (str(update), again.added) == ("added LOCK-001: write a reason for each", ("LOCK-002",))
    assert list(read_known_failures(str(file), SPECIFICATION, today=TODAY)) == ["LOCK-001", "LOCK-002"]
    assert file.read_text(encoding="utf-8").startswith("# requirement | reason | ")
