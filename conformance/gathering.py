"""What have the tests of a run come to? Taken from pytest's reports, which workers of pytest-xdist send as well."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .fixtures import EVIDENCE, PICTURE, VERDICT
from .judging import Seen, Verdict

SMOKE_FILE = "test_smoke.py"
REQUIREMENT, LEVEL = "requirement", "level"
"""Names of the properties under which a test says what it judges, and what is said of it beforehand.

Those without a prefix are for others, who read them in JUnit's XML.
"""
SEEN = pytest.StashKey[list[Seen]]()


@dataclass(frozen=True, kw_only=True)
class SmokeFailure:
    """A smoke check that failed.

    :param check: its node id.
    :param said: what it found; empty where the suite itself failed, whose traceback tells it.
    """

    check: str
    said: str


FAILED_SMOKE_CHECKS = pytest.StashKey[list[SmokeFailure]]()


class Gathering:
    """Takes the results, under pytest-xdist in the process that gathers them; ends the run where smoke checks fail."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at a result."""
        stash = self._session.config.stash
        if report.failed and report.nodeid.startswith(SMOKE_FILE):
            is_suites_own = VERDICT in dict(report.user_properties)
            said = "" if is_suites_own else _evidence(report).removeprefix("AssertionError: ")
            stash[FAILED_SMOKE_CHECKS].append(SmokeFailure(check=report.nodeid, said=said))
            self._session.shouldstop = "a smoke check failed"
        seen = _seen(report)
        if seen is not None:
            stash[SEEN].append(seen)


def _seen(report: pytest.TestReport) -> Seen | None:
    properties = dict(report.user_properties)
    one = properties.get(REQUIREMENT)
    # A test is over with its call, or with whatever comes before or after it and goes wrong.
    if one is None or (report.when != "call" and report.passed):
        return None
    return Seen(
        test=report.nodeid,
        requirement=str(one),
        verdict=_verdict_of(report, properties),
        evidence=_evidence(report),
        seconds=report.duration,
        pictures=tuple(str(value) for name, value in report.user_properties if name == PICTURE),
    )


def _verdict_of(report: pytest.TestReport, properties: dict[str, object]) -> Verdict:
    if VERDICT in properties:
        return Verdict(str(properties[VERDICT]))
    if hasattr(report, "wasxfail"):
        return Verdict.UNEXPECTED_PASS if report.passed else Verdict.KNOWN_FAILURE
    if report.skipped:
        return Verdict.NOT_RUN
    return Verdict.PASSED if report.passed else Verdict.FAILED


def _evidence(report: pytest.TestReport) -> str:
    told = "\n".join(str(value) for name, value in report.user_properties if name == EVIDENCE)
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    said = str(crash.message) if crash is not None else str(report.longrepr or "")
    return "\n".join(filter(None, [told, said]))
