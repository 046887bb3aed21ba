"""Results of the tests of a run, and the verdict on each requirement that follows from them.

Results are taken from pytest's reports, which workers of pytest-xdist send as well. Declarations of the
implementation stand in these reports too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import pytest

from ..requirements import Level, Requirement

SMOKE_FILE = "test_smoke.py"
REQUIREMENT, LEVEL = "requirement", "level"
"""Names of the properties with the id and the level of the requirement that a test judges.

They have no prefix, since others read them in JUnit's XML.
"""
VERDICT = "cosmos_verdict"
"""Name of the property with a verdict for which pytest has no word."""
EVIDENCE = "evidence"
"""Name of the property under which a test tells what it has seen, for JUnit's XML too."""
PICTURE = "cosmos_picture"
"""Name of the property of a picture of what happened, an SVG."""


class Verdict(str, Enum):
    """The verdict on one requirement, or of one test, the worst first."""

    HARNESS_ERROR = "harness error"
    FAILED = "failed"
    KNOWN_FAILURE = "known failure"
    DIFFERS = "differs on purpose"
    UNEXPECTED_PASS = "unexpected pass"
    NOT_RUN = "not run"
    PASSED = "passed"
    NOT_APPLICABLE = "not applicable"


DECIDED = (Verdict.PASSED, Verdict.UNEXPECTED_PASS, Verdict.FAILED, Verdict.KNOWN_FAILURE)
"""Verdicts that say whether a sentence is true of the implementation."""
KEPT = (Verdict.PASSED, Verdict.UNEXPECTED_PASS)
COUNTED = (*DECIDED, Verdict.DIFFERS)
"""In each "2 of 3", in the terminal, on pages and in lists, the first number counts ``KEPT``, and the second one counts
these verdicts. A requirement that differs on purpose applies and is not met, so only the second number counts it."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The result of one test.

    :param test: its node id, with which it can be run again.
    :param requirement: id.
    :param verdict: the verdict of this test alone.
    :param evidence: what was required and what was seen, or why it was not judged.
    :param seconds: the time that it took.
    :param pictures: pictures of what happened, each an SVG.
    """

    test: str
    requirement: str
    verdict: Verdict
    evidence: str = ""
    seconds: float = 0.0
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One requirement, judged.

    :param requirement: the requirement.
    :param verdict: the worst of its tests; where some do not apply, the others decide.
    :param seen: the results of its tests.
    :param root: id of a requirement that it depends on and that failed too.
    """

    requirement: Requirement
    verdict: Verdict
    seen: tuple[Seen, ...] = ()
    root: str | None = None

    @property
    def evidence(self) -> tuple[str, ...]:
        """The evidence of the tests that led to the verdict, then the evidence of passing tests.

        A passing test may say in how many rounds of a race it saw no fault. For the verdict "not run", the evidence of
        passing tests is left out.
        """
        leading = [each for each in self.seen if each.verdict is self.verdict]
        beside = () if self.verdict in (Verdict.PASSED, Verdict.NOT_RUN) else (Verdict.PASSED,)
        passed = [each for each in self.seen if each.verdict in beside]
        return tuple(each.evidence for each in (*leading, *passed) if each.evidence)


def judge(specification: Mapping[str, Requirement], seen: Iterable[Seen]) -> list[Judgement]:
    """A judgement on each requirement, in the order of the specification.

    :param specification: all requirements by id.
    :param seen: the results of the tests, in any order.
    """
    by_id: dict[str, list[Seen]] = {}
    for each in seen:
        by_id.setdefault(each.requirement, []).append(each)
    verdicts = {unique: worst({each.verdict for each in by_id.get(unique, ())}) for unique in specification}
    return [
        Judgement(
            requirement=one,
            verdict=verdicts[one.id],
            seen=tuple(by_id.get(one.id, ())),
            root=_root(one, verdicts) if verdicts[one.id] is Verdict.FAILED else None,
        )
        for one in specification.values()
    ]


def worst(found: Collection[Verdict]) -> Verdict:
    """The verdict on a requirement: the worst of its tests; where some do not apply, the others decide.

    :param found: the verdicts of its tests.
    """
    return next((verdict for verdict in Verdict if verdict in found), Verdict.NOT_RUN)


def _root(one: Requirement, verdicts: Mapping[str, Verdict]) -> str | None:
    ill = (Verdict.FAILED, Verdict.KNOWN_FAILURE, Verdict.HARNESS_ERROR)
    return next((each for each in one.depends_on if verdicts.get(each) in ill), None)


def is_of_level(judgement: Judgement, level: Level) -> bool:
    """Whether a requirement has this level, or one above it.

    :param judgement: on one requirement.
    :param level: the level that was asked for.
    """
    return judgement.requirement.level.rank <= level.rank


def is_undone_promise(judgement: Judgement, known: Collection[str]) -> bool:
    """Whether the requirement is a MUST that differs on purpose and is not on the list of known failures.

    :param judgement: on one requirement.
    :param known: ids on the list of known failures.
    """
    one = judgement.requirement
    return one.level is Level.MUST and judgement.verdict is Verdict.DIFFERS and one.id not in known


def counts_against(
    judgement: Judgement, *, level: Level, beyond: frozenset[str], strict: bool = False, known: Collection[str] = ()
) -> bool:
    """Whether the verdict makes the run fail.

    :param judgement: on one requirement.
    :param level: the level that was asked for: its failures count, and failures of the levels above.
    :param beyond: ids of the BEYOND requirements, and names of compatibilities, that the implementation declares.
    :param strict: whether an unexpected pass counts as a failure.
    :param known: ids on the list of known failures: a MUST that differs on purpose counts as failed unless it is there.
    """
    one = judgement.requirement
    is_held = not beyond.isdisjoint((one.id, *one.needs))
    if not (is_held or is_of_level(judgement, level)):
        return False
    if is_undone_promise(judgement, known):
        return True
    return judgement.verdict is Verdict.FAILED or (strict and judgement.verdict is Verdict.UNEXPECTED_PASS)


SEEN = pytest.StashKey[list[Seen]]()


@dataclass(frozen=True, kw_only=True)
class SmokeFailure:
    """A smoke check that failed.

    :param check: its node id.
    :param said: what it found.
    """

    check: str
    said: str


FAILED_SMOKE_CHECKS = pytest.StashKey[list[SmokeFailure]]()


class Results:
    """Plugin that takes the results, under pytest-xdist in the controller, and ends the run if a smoke check fails.

    :param session: the session of the run.
    """

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a result.

        :param report: the report of one phase of a test.
        """
        stash = self._session.config.stash
        if report.failed and f"/{SMOKE_FILE}::" in f"/{report.nodeid}":
            stash[FAILED_SMOKE_CHECKS].append(
                SmokeFailure(check=report.nodeid, said=_evidence(report).removeprefix("AssertionError: "))
            )
            self._session.shouldstop = "a smoke check failed"
        seen = _seen(report)
        if seen is not None:
            stash[SEEN].append(seen)


def _seen(report: pytest.TestReport) -> Seen | None:
    properties = dict(report.user_properties)
    one = properties.get(REQUIREMENT)
    # The result of a test is its call, or a setup or teardown that fails.
    if one is None or (report.when != "call" and report.passed):
        return None
    return Seen(
        test=report.nodeid,
        requirement=str(one),
        verdict=_verdict_of(report, properties),
        evidence=_evidence(report),
        seconds=report.duration,
        pictures=_told(report, PICTURE),
    )


def _told(report: pytest.TestReport, of: str) -> tuple[str, ...]:
    """What a test has told under the name of a property."""
    return tuple(str(value) for name, value in report.user_properties if name == of)


def _verdict_of(report: pytest.TestReport, properties: dict[str, object]) -> Verdict:
    if VERDICT in properties:
        return Verdict(str(properties[VERDICT]))
    if hasattr(report, "wasxfail"):
        return Verdict.UNEXPECTED_PASS if report.passed else Verdict.KNOWN_FAILURE
    if report.skipped:
        return Verdict.NOT_RUN
    return Verdict.PASSED if report.passed else Verdict.FAILED


def _evidence(report: pytest.TestReport) -> str:
    told = "\n".join(_told(report, EVIDENCE))
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    said = str(crash.message) if crash is not None else str(report.longrepr or "")
    is_suites_own = dict(report.user_properties).get(VERDICT) == Verdict.HARNESS_ERROR.value
    where = f"raised in {crash.path}:{crash.lineno}" if crash is not None and is_suites_own else ""
    return "\n".join(filter(None, [where, told, said]))
