"""Which picture says in a README what an implementation keeps? Only a whole level, with the specification's version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .judging import Verdict
from .requirements import Level

_FINE = {Verdict.PASSED.value, Verdict.NOT_APPLICABLE.value, Verdict.UNEXPECTED_PASS.value}
_LETTER = 6.6


def badge(report: Mapping[str, Any]) -> str:
    """An SVG: the highest level of which all holds, and what was not judged because it is declared absent."""
    text, color = _claim(report)
    label = f"conformance {report['specification']}"
    left, right = (round(_LETTER * len(words)) + 12 for words in (label, text))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" \
aria-label="{escape(f"{label}: {text}")}">
<title>{escape(f"{label}: {text}")}</title>
<rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{color}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2}" y="14">{escape(label)}</text><text x="{left + right / 2}" y="14">{escape(text)}</text>
</g></svg>
"""


def _claim(report: Mapping[str, Any]) -> tuple[str, str]:
    if not report["closing"]["is_complete"]:
        return "incomplete", "#888"
    reached = None
    for level in Level:
        verdicts = {each["verdict"] for each in report["requirements"] if each["level"] == level.value}
        if not verdicts <= _FINE:
            break
        reached = level
    absent = _absent(report["requirements"])
    without = f" (without {', '.join(absent)})" if absent else ""
    return (f"{reached.value}{without}", "#2a7d3c") if reached else ("not reached", "#b23b3b")


def _absent(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is needed by requirements that do not apply, and by none that does."""
    needs: dict[bool, set[str]] = {True: set(), False: set()}
    for each in records:
        needs[each["verdict"] == Verdict.NOT_APPLICABLE.value].update(each["needs"])
    return sorted(needs[True] - needs[False])
