"""The overview that the terminal and a job of CI show: a table, and what of the verdicts it does not tell."""

from __future__ import annotations

from dataclasses import replace

from conformance.reporting.terminal import remarks, table_rows
from conformance.reporting.verdicts import Verdict
from conformance.requirements import Level
from tests.conformance.reporting.test_report import OPTIONS, judged, reported

P, F, N = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_APPLICABLE
K, U, D = Verdict.KNOWN_FAILURE, Verdict.UNEXPECTED_PASS, Verdict.DIFFERS


def test_the_table_counts_what_could_have_passed_and_the_time_of_each_area() -> None:
    one = judged("A-001", Level.MUST, P)
    timed = replace(one, seen=(replace(one.seen[0], seconds=41.4),))
    left_out = replace(judged("B-001", Level.MUST, Verdict.NOT_RUN), seen=())

    rows = table_rows(reported(timed, judged("A-002", Level.MUST, D), judged("A-003", Level.BEYOND, N), left_out))

    assert rows == [
        ["", "MUST", "SHOULD", "BEYOND", "time of checks"],
        ["A", "1 of 2", "-", "-", "41 s"],
        ["all", "1 of 2", "-", "-", "41 s"],
    ]


def test_what_is_on_the_list_of_known_failures_is_named() -> None:
    found = [judged("A-001", Level.MUST, U), judged("A-002", Level.MUST, K)]

    assert remarks(reported(*found, options={**OPTIONS, "strict": True})) == [
        "requirements: 1 known failure, 1 unexpected pass",
        "known failures: A-002",
        "on the list of known failures, and passed: A-001; drop the lines, and with --cosmos-strict the run fails",
    ]
    updated = remarks(reported(*found, options={**OPTIONS, "update_known_failures": True}))
    assert updated[-1] == "on the list of known failures, and passed: A-001"


def test_a_must_that_differs_on_purpose_is_named_unless_the_list_has_it() -> None:
    found = reported(judged("A-001", Level.MUST, D), judged("A-002", Level.SHOULD, D))

    assert remarks(found)[1].endswith("lists it: A-001")
    assert remarks(found, {"A-001"}) == ["requirements: 2 differs on purpose"]


def test_what_is_not_judged_is_told_by_its_reason_and_what_was_left_out_is_not() -> None:
    reason = "Skipped: not applicable: deps is not declared"
    lacking = [judged(f"A-{number:03}", Level.MUST, N, evidence=reason) for number in range(7)]
    refused = judged("B-001", Level.MUST, Verdict.NOT_RUN, evidence="Skipped: nobody may mount.")
    left_out = replace(judged("B-002", Level.MUST, Verdict.NOT_RUN), seen=())

    assert remarks(reported(*lacking, refused, left_out))[1:] == [
        "7 not applicable:",
        "  deps is not declared: A-000, A-001, A-002, A-003, A-004, and 2 more",
        "1 that cannot be judged here:",
        "  nobody may mount: B-001",
    ]
