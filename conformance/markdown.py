"""What does a job of a CI show of a run? A table, and the failures, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .judging import Verdict
from .requirements import Level

_ILL = (Verdict.FAILED.value, Verdict.HARNESS_ERROR.value)


def summary(report: Mapping[str, Any]) -> str:
    """The report in half a page."""
    one, where = report["implementation"], report["environment"]
    services = one.get("services")
    lines = [
        f"## Conformance of {one['name']} {one['version']}",
        "",
        f"Specification {report['specification']}, Airflow {where['airflow']}, Python {where['python']}, "
        f"{where['installer']}, {report['closing']['seconds']:.0f} s"
        f"{'' if report['closing']['is_complete'] else ', **incomplete**'}",
        *([f"Declared to stay when tasks have ended: {', '.join(services)}"] if services else []),
        "",
        f"| | {' | '.join(verdict.value for verdict in Verdict)} |",
        f"|---|{'---:|' * len(Verdict)}",
    ]
    for level in Level:
        found = report["closing"]["counts"][level.value]
        lines.append(f"| {level.value} | {' | '.join(str(found.get(verdict.value, '')) for verdict in Verdict)} |")
    failed = [each for each in report["requirements"] if each["verdict"] in _ILL]
    if failed:
        lines += ["", *(f"- **{each['id']}** {each['level']}: {_sentence(each)}" for each in failed)]
    if here := [each for each in report["requirements"] if _cannot_be_judged(each)]:
        lines += ["", f"{len(here)} that cannot be judged here:", ""]
        lines += [f"- {each['id']} {each['level']}: {_reasons(each['evidence'])}" for each in here]
    surprising = [each["id"] for each in report["requirements"] if each["verdict"] == Verdict.UNEXPECTED_PASS.value]
    if surprising:
        lines += ["", f"On the list of known failures, and passed: {', '.join(surprising)}"]
    return "\n".join(lines) + "\n"


def _cannot_be_judged(record: Mapping[str, Any]) -> bool:
    """As ``Judgement.cannot_be_judged_here``."""
    return record["verdict"] == Verdict.NOT_RUN.value and bool(record["tests"])


def _sentence(record: Mapping[str, Any]) -> str:
    is_ours = record["verdict"] == Verdict.HARNESS_ERROR.value
    return f"{'harness error, which says nothing about: ' if is_ours else ''}{record['sentence']}"


def _reasons(evidence: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(each.removeprefix("Skipped: ").rstrip(".") for each in evidence))
