"""One HTML page of a report, or of several side by side, that loads nothing from any host."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..requirements import read_areas
from .comparison import LOOKS, Record, Report, Row, labels, rows, seconds_by_area, tallies
from .verdicts import KEPT, Verdict

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding on one requirement in one report.

    :param name: label of the report.
    :param word: the verdict, as in ``Row.words``.
    :param record: the record of the requirement.
    :param evidence: a text of what was seen -> the number of tests with this text.
    :param images: pictures of what happened, as addresses.
    """

    name: str
    word: str
    record: Record
    evidence: Mapping[str, int]
    images: Sequence[str]


def page(reports: Sequence[Report]) -> str:
    """The page as HTML.

    :param reports: one, or several to be compared, each as ``report.json`` has it.
    """
    from jinja2 import Environment, select_autoescape

    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"code": _with_code, "said": _with_seen}
    found, names = rows(reports), labels(reports)
    words = {word for row in found for word in row.words}
    verdicts = {cell["verdict"] for row in found for cell in row.cells if cell is not None}
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        reports=reports,
        names=names,
        is_comparison=len(reports) > 1,
        sections=_sections(found, is_comparison=len(reports) > 1),
        unlike=sum(not row.is_alike for row in found),
        count=len(found),
        findings={row.id: _findings(row, names) for row in found},
        by_level=tallies(found, len(reports), by=lambda row: row.level.value),
        by_area=dict(sorted(tallies(found, len(reports), by=lambda row: row.area).items())),
        areas=read_areas(),
        seconds=seconds_by_area(reports[0]) if len(reports) == 1 else {},
        levels=list(dict.fromkeys(row.level.value for row in found)),
        verdicts=[verdict.value for verdict in Verdict if verdict in verdicts],
        looks={word: look for word, look in LOOKS.items() if word in words},
    )


def _sections(found: Sequence[Row], *, is_comparison: bool) -> dict[str, list[Row]]:
    """The sections, in the order in which readers look for them."""
    apart = {Verdict.HARNESS_ERROR.value: "The suite itself failed", Verdict.DIFFERS.value: "Different on purpose"}
    titles = ("Kept by none", "Judged in none", "Kept by all") if is_comparison else ("Not kept", "Not judged", "Kept")
    unlike, (ill, other, kept) = "Where they differ", titles

    def title_of(row: Row) -> str:
        if not row.is_alike:
            return unlike
        if row.word in KEPT:
            return kept
        return apart.get(row.word, other if LOOKS[row.word].tone == "none" else ill)

    groups: dict[str, list[Row]] = {title: [] for title in (unlike, ill, *apart.values(), other, kept)}
    for row in found:
        groups[title_of(row)].append(row)
    return {title: each for title, each in groups.items() if each}


def _findings(row: Row, names: Sequence[str]) -> list[Finding]:
    """Findings on a requirement from the reports that have more to say than their verdict."""
    return [
        Finding(
            name=name,
            word=word,
            record=cell,
            evidence=Counter(
                text.removeprefix("AssertionError: ").removeprefix("Skipped: ").strip() for text in cell["evidence"]
            ),
            images=[_image(svg) for svg in cell["pictures"]],
        )
        for name, word, cell in zip(names, row.words, row.cells, strict=True)
        if cell is not None and (cell["evidence"] or cell["pictures"] or LOOKS[word].tone in ("bad", "odd"))
    ]


def _with_code(text: str) -> str:
    """The text as HTML, with text in backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _with_seen(text: str) -> str:
    """Evidence as HTML: of "what was required; seen: what was seen" the second half stands out."""
    from markupsafe import Markup, escape

    required, seen, rest = str(escape(text)).partition("; seen: ")
    return Markup(f'<span class="faint">{required};</span>{seen[1:]}{rest}' if seen else required)  # noqa: S704 - escaped


def _image(svg: str) -> str:
    """The picture as an image, in which no script can run."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
