"""Tests of the verdict on each requirement, which follows from the outcomes of its tests."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.reporting.terminal import by_root, listed, not_judged_here, shown, table, undone_promises
from conformance.reporting.verdicts import (
    FAILED_SMOKE_CHECKS,
    SEEN,
    VERDICT,
    Judgement,
    Results,
    Seen,
    Verdict,
    counts_against,
    judge,
)
from conformance.requirements import Level, Requirement

P, F, H = Verdict.PASSED, Verdict.FAILED, Verdict.HARNESS_ERROR
K, U, N = Verdict.KNOWN_FAILURE, Verdict.UNEXPECTED_PASS, Verdict.NOT_APPLICABLE


def required(unique: str, level: Level = Level.MUST, *roots: str) -> Requirement:
    return Requirement(id=unique, level=level, sentence="It holds.", sources=("a page",), depends_on=roots)


def specified(*requirements: Requirement) -> dict[str, Requirement]:
    return {one.id: one for one in requirements}


def seen(requirement: str, verdict: Verdict, evidence: str = "", reasons: tuple[str, ...] = ()) -> Seen:
    return Seen(
        test=f"test_{requirement}", requirement=requirement, verdict=verdict, evidence=evidence, reasons=reasons
    )


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        pytest.param([P, P], P, id="all-passed"),
        pytest.param([P, F, P], F, id="one-of-several-tests-failed"),
        pytest.param([F, H], H, id="the-suite-itself-failed"),
        pytest.param([P, N], P, id="applies-in-part"),
        pytest.param([N], N, id="does-not-apply"),
        pytest.param([K, P], K, id="known"),
        pytest.param([U, U], U, id="passes-unexpectedly"),
        pytest.param([U, K], K, id="of-a-known-failure-one-test-passes"),
        pytest.param([Verdict.DIFFERS, P], Verdict.DIFFERS, id="differs"),
        pytest.param([], Verdict.NOT_RUN, id="no-test-was-run"),
    ],
)
def test_the_worst_of_its_tests_is_the_verdict_on_a_requirement(verdicts: list[Verdict], expected: Verdict) -> None:
    specification = {"A-001": required("A-001")}

    (judgement,) = judge(specification, [seen("A-001", verdict) for verdict in verdicts])

    assert judgement.verdict is expected


def test_evidence_begins_with_that_of_the_tests_that_led_to_the_verdict() -> None:
    tests = [seen("A-001", P, "in 0 of 25 rounds"), seen("A-001", F, "seen: two installers"), seen("A-001", F)]

    (judgement,) = judge({"A-001": required("A-001")}, tests)

    assert judgement.evidence == ("seen: two installers", "in 0 of 25 rounds")


def test_what_keeps_it_from_being_judged_is_not_told_beside_what_passed() -> None:
    tests = [seen("A-001", P, "in 0 of 25 rounds"), seen("A-001", Verdict.NOT_RUN, "Skipped: nobody may mount")]

    (judgement,) = judge({"A-001": required("A-001")}, tests)

    assert judgement.evidence == ("Skipped: nobody may mount",)


def test_a_failure_whose_root_failed_is_told_under_it() -> None:
    specification = specified(
        required("A-001"),
        required("A-002", Level.MUST, "A-001"),
        required("A-003", Level.MUST, "A-002"),
    )

    found = judge(specification, [seen("A-001", F), seen("A-002", F), seen("A-003", P)])

    assert [(each.requirement.id, each.root) for each in found] == [
        ("A-001", None),
        ("A-002", "A-001"),
        ("A-003", None),
    ]


@pytest.mark.parametrize(
    ("level", "verdict", "asked", "strict", "expected"),
    [
        pytest.param(Level.MUST, F, Level.MUST, False, True, id="must-fails"),
        pytest.param(Level.SHOULD, F, Level.MUST, False, False, id="should-fails-and-musts-were-asked-for"),
        pytest.param(Level.SHOULD, F, Level.SHOULD, False, True, id="should-fails"),
        pytest.param(Level.MUST, F, Level.BEYOND, False, True, id="all-levels"),
        pytest.param(Level.MUST, K, Level.MUST, True, False, id="known"),
        pytest.param(Level.MUST, U, Level.MUST, False, False, id="passes-unexpectedly"),
        pytest.param(Level.MUST, U, Level.MUST, True, True, id="passes-unexpectedly-and-strict"),
    ],
)
def test_a_failure_counts_at_the_level_that_was_asked_for(
    level: Level, verdict: Verdict, asked: Level, strict: bool, expected: bool
) -> None:
    judgement = Judgement(requirement=required("A-001", level), verdict=verdict)

    assert counts_against(judgement, level=asked, beyond=frozenset(), strict=strict) is expected


def test_what_an_implementation_declares_beyond_counts_as_if_it_were_promised() -> None:
    judgement = Judgement(requirement=required("A-001", Level.BEYOND), verdict=F)

    assert not counts_against(judgement, level=Level.MUST, beyond=frozenset())
    assert counts_against(judgement, level=Level.MUST, beyond=frozenset({"A-001"}))


def test_a_compatibility_that_an_implementation_declares_binds_it() -> None:
    one = replace(required("A-001", Level.BEYOND), needs=("dags", "renders_as_cosmos_1_15"))

    judgement = Judgement(requirement=one, verdict=F)

    assert not counts_against(judgement, level=Level.MUST, beyond=frozenset({"A-002"}))
    assert counts_against(judgement, level=Level.MUST, beyond=frozenset({"renders_as_cosmos_1_15"}))


def test_the_table_counts_what_differs_among_what_could_have_passed() -> None:
    found = judge(specified(required("A-001"), required("A-002")), [seen("A-001", P), seen("A-002", Verdict.DIFFERS)])

    assert table(found)[1].split()[:4] == ["A", "1", "of", "2"]


def test_the_table_says_how_long_the_checks_of_each_area_took_and_counts_none_twice() -> None:
    specification = specified(required("A-001"), required("A-002"), required("B-001"))
    one = Seen(test="checks/test_a.py::test_a", requirement="A-001", verdict=P, seconds=2.4)
    found = judge(specification, [one, replace(one, requirement="A-002"), replace(one, test="b", requirement="B-001")])

    assert [line.split()[-2:] for line in table(found)[1:4]] == [["2", "s"], ["2", "s"], ["5", "s"]]


def test_each_failure_is_told_for_itself_or_under_a_root_that_is() -> None:
    specification = specified(
        required("A-001"),
        required("A-002", Level.MUST, "A-001"),
        required("A-003", Level.MUST, "A-002"),
        required("B-001"),
        required("B-002", Level.MUST, "B-001"),
    )
    verdicts = {"A-001": F, "A-002": F, "A-003": F, "B-001": K, "B-002": F}
    found = judge(specification, [seen(unique, verdict) for unique, verdict in verdicts.items()])

    told = by_root([each for each in found if each.verdict is F])

    assert [(root.requirement.id, [each.requirement.id for each in under]) for root, under in told] == [
        ("A-001", ["A-002", "A-003"]),
        ("B-002", []),
    ]


def test_the_table_counts_what_was_judged_and_names_what_is_on_the_list_of_known_failures() -> None:
    specification = {unique: required(unique) for unique in ("A-001", "A-002", "A-003", "B-001")}

    found = judge(specification, [seen("A-001", U), seen("A-002", K)])

    _, *rows, counts = table(found)
    assert [line.split()[0] for line in rows] == ["A", "all"], "an area of which nothing was run has no row"
    assert rows[0].split() == ["A", "1", "of", "2", "-", "-", "0", "s"]
    assert counts == "requirements: 1 known failure, 1 unexpected pass, 2 not run"
    assert listed(found, strict=False, is_updated=True)[1] == "on the list of known failures, and passed: A-001"
    assert listed(found, strict=True) == [
        "known failures: A-002",
        "on the list of known failures, and passed: A-001; drop the lines, and with --cosmos-strict the run fails",
    ]


def test_what_a_failure_shows_in_the_terminal_is_bounded_and_no_line_stands_there_twice() -> None:
    told: set[str] = set()
    log = [f"line {number} of the log" for number in range(100)]

    first = shown(["\n".join(["the pier must stand", *log]), "x" * 5_000], told)
    second = shown(["\n".join(["the crane must stand", *log[:10]])], told)
    wide = shown(["\n".join(f"{number} " + "y" * 1_000 for number in range(50))], told)

    assert first[:2] == ["the pier must stand", "line 0 of the log"]
    assert first[-1] == "(77 more lines; --cosmos-report=DIR keeps them)"
    assert second == ["the crane must stand", "(10 more lines; --cosmos-report=DIR keeps them)"]
    assert "more characters)" in wide[0]
    assert sum(map(len, wide)) < 4_000


def test_a_must_that_differs_on_purpose_counts_as_failed_unless_the_list_of_known_failures_has_it() -> None:
    specification = specified(required("A-001"), required("A-002", Level.SHOULD))
    found = judge(specification, [seen(unique, Verdict.DIFFERS) for unique in specification])

    counted = [each.requirement.id for each in found if counts_against(each, level=Level.BEYOND, beyond=frozenset())]
    owned = [each for each in found if counts_against(each, level=Level.MUST, beyond=frozenset(), known={"A-001"})]

    assert counted == ["A-001"]
    assert owned == []
    assert undone_promises(found, {"A-001"}) == []
    assert undone_promises(found, ())[0].endswith("lists it: A-001")


def test_what_this_machine_cannot_judge_is_named_once_for_each_reason_and_what_was_left_out_is_not() -> None:
    specification = {unique: required(unique) for unique in ("A-001", "A-002", "A-003")}
    skipped = [
        Seen(test=f"test[{case}]", requirement=unique, verdict=Verdict.NOT_RUN, evidence="Skipped: nobody may mount")
        for unique in ("A-001", "A-002")
        for case in ("full", "read-only")
    ]

    found = judge(specification, skipped)

    assert not_judged_here(found) == ["2 that cannot be judged here:", "  A-001, A-002: nobody may mount"]
    assert not_judged_here(judge(specification, [])) == []


@pytest.mark.parametrize(
    ("crash", "said"),
    [
        pytest.param("tasks.HarnessError: AdapterError: it raised.\nTraceback", "it raised.\nTraceback"),
        pytest.param("tasks.HarnessError: OSError: the disk is full", ""),
    ],
    ids=["adapter", "suite"],
)
def test_a_smoke_check_says_itself_what_is_wrong_with_the_adapter(crash: str, said: str) -> None:
    session: Any = SimpleNamespace(config=SimpleNamespace(stash={FAILED_SMOKE_CHECKS: [], SEEN: []}), shouldstop=False)
    longrepr = SimpleNamespace(reprcrash=SimpleNamespace(message=crash, path="running.py", lineno=7))
    report: Any = SimpleNamespace(
        failed=True,
        passed=False,
        skipped=False,
        when="call",
        nodeid="checks/test_smoke.py::test_it",
        user_properties=[(VERDICT, Verdict.HARNESS_ERROR.value)],
        longrepr=longrepr,
    )

    Results(session).pytest_runtest_logreport(report)

    assert [each.said for each in session.config.stash[FAILED_SMOKE_CHECKS]] == [said]
