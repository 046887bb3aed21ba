"""Tests of several reports side by side: rows, tallies, and labels that tell them apart."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.reporting.comparison import Tally, labels, rows, tallies
from conformance.reporting.html_page import page
from conformance.reporting.terminal import table_rows
from conformance.reporting.verdicts import Verdict
from conformance.requirements import Level
from tests.conformance.reporting.test_report import judged, reported

P, F, N = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_APPLICABLE


def with_verdicts(**verdicts: Verdict) -> dict[str, Any]:
    levels = {"LOCK_002": Level.MUST, "API_001": Level.SHOULD, "LOCK_001": Level.SHOULD}
    return reported(*(judged(name.replace("_", "-"), levels[name], each) for name, each in verdicts.items()))


ONE = with_verdicts(API_001=P, LOCK_001=F, LOCK_002=F)
OTHER = with_verdicts(LOCK_001=N, LOCK_002=P)


def test_what_was_promised_comes_first() -> None:
    assert [row.id for row in rows([ONE, OTHER])] == ["LOCK-002", "API-001", "LOCK-001"]


def test_what_nobody_promised_differs_and_only_where_there_is_something_to_differ_from() -> None:
    assert [row.words for row in rows([ONE, OTHER])] == [
        ("failed", "passed"),
        ("passed", "not in it"),
        ("differs", "not applicable"),
    ]
    assert [row.words for row in rows([ONE])] == [("failed",), ("passed",), ("failed",)]


def test_what_does_not_apply_is_not_counted() -> None:
    found = tallies(rows([ONE, OTHER]), 2, by=lambda row: row.area)

    assert found == {
        "LOCK": (Tally(counts={"failed": 1, "differs": 1}), Tally(counts={"passed": 1, "not applicable": 1})),
        "API": (Tally(counts={"passed": 1}), Tally(counts={"not in it": 1})),
    }
    assert [(each.kept, each.counted) for group in found.values() for each in group] == [
        (0, 2),
        (1, 1),
        (1, 1),
        (0, 0),
    ]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        pytest.param(P, (2, 2), id="passed"),
        pytest.param(Verdict.UNEXPECTED_PASS, (2, 2), id="unexpected-pass"),
        pytest.param(F, (1, 2), id="failed"),
        pytest.param(Verdict.KNOWN_FAILURE, (1, 2), id="known-failure"),
        pytest.param(Verdict.DIFFERS, (1, 2), id="differs"),
        pytest.param(N, (1, 1), id="not-applicable"),
        pytest.param(Verdict.NOT_RUN, (1, 1), id="not-run"),
        pytest.param(Verdict.HARNESS_ERROR, (1, 1), id="harness-error"),
    ],
)
def test_the_terminal_and_the_pages_count_alike(verdict: Verdict, expected: tuple[int, int]) -> None:
    found = [judged("LOCK-001", Level.MUST, P), judged("LOCK-002", Level.MUST, verdict)]

    (tally,) = tallies(rows([reported(*found)]), 1, by=lambda row: row.area)["LOCK"]

    assert (tally.kept, tally.counted) == expected
    assert table_rows(reported(*found))[1][1] == f"{expected[0]} of {expected[1]}"
    assert f"<b>{expected[0]}</b> of {expected[1]}<" in page([reported(*found)])


def test_two_reports_on_one_version_are_told_apart() -> None:
    one, other = reported(name="cosmos"), reported(name="cosmos")
    other["environment"] |= {"airflow": "2.11", "installer": "pip"}
    airflow = one["environment"]["airflow"]

    assert labels([one, other]) == [f"cosmos 1.2, Airflow {airflow}, uv", "cosmos 1.2, Airflow 2.11, pip"]
    assert labels([one, reported(name="mine")]) == ["cosmos 1.2", "mine 1.2"]
    assert labels([reported(name="cosmos", profiles=["core"])]) == ["cosmos 1.2 (partial)"]


def test_two_runs_of_one_implementation_are_told_apart_by_their_time() -> None:
    one = reported(name="cosmos") | {"started": "2026-11-20T09:08:07+00:00"}
    other = one | {"started": "2026-11-21T09:08:07+00:00"}

    first, second = labels([one, other])

    assert (first[-19:], second[-19:]) == ("2026-11-20 09:08:07", "2026-11-21 09:08:07")


def test_what_one_run_left_out_makes_no_difference() -> None:
    (row,) = rows([with_verdicts(LOCK_002=Verdict.NOT_RUN), with_verdicts(LOCK_002=F)])

    assert (row.is_alike, row.word) == (True, "failed")
    assert tallies([row], 2, by=lambda each: each.area)["LOCK"][0].counted == 0
