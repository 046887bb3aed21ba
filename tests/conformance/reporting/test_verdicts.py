"""Tests of the verdict on each requirement, which follows from the outcomes of its tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.reporting.terminal import by_root
from conformance.reporting.verdicts import Judgement, Seen, Verdict, counts_against, judge
from conformance.requirements import Level, Requirement

P, F, H = Verdict.PASSED, Verdict.FAILED, Verdict.HARNESS_ERROR
K, U, N = Verdict.KNOWN_FAILURE, Verdict.UNEXPECTED_PASS, Verdict.NOT_APPLICABLE


def required(unique: str, level: Level = Level.MUST, *roots: str) -> Requirement:
    return Requirement(id=unique, level=level, sentence="It holds.", sources=("a page",), depends_on=roots)


def specified(*requirements: Requirement) -> dict[str, Requirement]:
    return {one.id: one for one in requirements}


def seen(requirement: str, verdict: Verdict, evidence: str = "") -> Seen:
    return Seen(test=f"test_{requirement}", requirement=requirement, verdict=verdict, evidence=evidence)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        pytest.param([P, P], P, id="all-passed"),
        pytest.param([P, F, P], F, id="one-of-several-tests-failed"),
        pytest.param([F, H], H, id="the-suite-itself-failed"),
        pytest.param([P, N], P, id="applies-in-part"),
        pytest.param([N], N, id="does-not-apply"),
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


@pytest.mark.parametrize("promise", ["A-001", "renders_as_cosmos_1_15"])
def test_what_an_implementation_declares_beyond_counts_as_if_it_were_promised(promise: str) -> None:
    one = replace(required("A-001", Level.BEYOND), needs=("deps", "renders_as_cosmos_1_15"))

    judgement = Judgement(requirement=one, verdict=F)

    assert not counts_against(judgement, level=Level.MUST, beyond=frozenset({"A-002"}))
    assert counts_against(judgement, level=Level.MUST, beyond=frozenset({promise}))


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


def test_a_must_that_differs_on_purpose_counts_as_failed_unless_the_list_of_known_failures_has_it() -> None:
    specification = specified(required("A-001"), required("A-002", Level.SHOULD))
    found = judge(specification, [seen(unique, Verdict.DIFFERS) for unique in specification])

    counted = [each.requirement.id for each in found if counts_against(each, level=Level.BEYOND, beyond=frozenset())]
    owned = [each for each in found if counts_against(each, level=Level.MUST, beyond=frozenset(), known={"A-001"})]

    assert counted == ["A-001"]
    assert owned == []
