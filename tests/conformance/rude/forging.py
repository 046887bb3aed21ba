"""Has every process that imports it report passed tests, whatever they found."""

from __future__ import annotations

from typing import Any

from _pytest.reports import TestReport

from pytest_cosmos_venv.conformance.harness import running
from pytest_cosmos_venv.conformance.reporting import verdicts

from ..tiny.adapter import TinyAdapter

_sound = TestReport.from_item_and_call.__func__  # type: ignore[attr-defined]


def _passed(cls: Any, item: Any, call: Any) -> Any:
    report = _sound(cls, item, call)
    report.outcome, report.longrepr = "passed", None
    return report


TestReport.from_item_and_call = classmethod(_passed)  # type: ignore[method-assign,assignment]
verdicts._verdict_of = lambda *_: verdicts.Verdict.PASSED
running.GRACE = 0.0


class Forger(TinyAdapter):
    """Judged as any other, if it is not imported where it is judged."""
