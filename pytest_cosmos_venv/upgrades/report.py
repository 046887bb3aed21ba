"""What differs between releases of dbt: lines for the terminal, ``report.json``, and one page of HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.upgrades.release_comparison import KINDS, OUTCOME, by_test, differences, totals
from pytest_cosmos_venv.upgrades.release_record import ReleaseRecord

VERSION = 1
"""The version of the form of ``report.json``."""
_TEMPLATES = Path(__file__).parents[1]
_SHOWN = 20
_LOOKS = {"passed": ("✓", "good"), "failed": ("✗", "bad"), "skipped": ("○", "none")}


def document(records: Iterable[ReleaseRecord], releases: Sequence[str]) -> dict[str, Any]:
    """Return the report in values that JSON has.

    :param records: the records of the run, in any order.
    :param releases: the releases of the run, the one to compare with first.
    """
    records = list(records)
    found = differences(records, releases)
    counts = totals(found)
    of_release = {name: [record for record in records if record.release == name] for name in releases}
    return {
        "version": VERSION,
        "releases": [
            {
                "release": name,
                "outcomes": {each: sum(record.outcome == each for record in of_release[name]) for each in _LOOKS},
                "differences": {kind: counts.get((name, kind), 0) for kind in KINDS},
                "seconds": round(sum(command.seconds for each in of_release[name] for command in each.commands), 3),
            }
            for name in releases
        ],
        "tests": [
            {
                "test": test,
                "releases": {
                    name: {
                        "outcome": record.outcome,
                        "text": record.text,
                        "seconds": round(sum(command.seconds for command in record.commands), 3),
                    }
                    for name, record in of_test.items()
                },
            }
            for test, of_test in by_test(records).items()
        ],
        "differences": [asdict(each) for each in found],
    }


def terminal_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the table of releases and the first differences.

    :param report: the report, as ``document`` returns it.
    """
    head = ("release", *_LOOKS, *KINDS, "seconds")
    rows = [
        (
            each["release"],
            *map(str, each["outcomes"].values()),
            *map(str, each["differences"].values()),
            f"{each['seconds']:.1f}",
        )
        for each in report["releases"]
    ]
    # Nothing is compared with itself.
    rows[0] = (*rows[0][:4], *("" for _ in KINDS), rows[0][-1])
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    lines = [line.rstrip() for line in lines]
    found = report["differences"]
    if not found:
        return [*lines, f"Nothing differs from dbt {report['releases'][0]['release']}."]
    lines += [line for each in found[:_SHOWN] for line in _lines_of(each)]
    return [*lines, f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else lines


def _lines_of(each: Mapping[str, Any]) -> list[str]:
    subject = each["subject"] or each["test"]
    change = f" {each['before']} -> {each['after']}" if each["before"] or each["after"] else ""
    detail = each["detail"].splitlines()[:3] if each["kind"] != OUTCOME else []
    return [f"dbt {each['release']}: {each['kind']} of {subject}:{change}", *(f"    {line}" for line in detail)]


def write(report: Mapping[str, Any], folder: Path) -> Path:
    """Write ``report.json`` and ``report.html``; return the latter.

    :param report: the report, as ``document`` returns it.
    :param folder: the folder; made when missing.
    """
    import jinja2

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    loader = jinja2.FileSystemLoader(_TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("upgrades/report.html.jinja")
    page = folder / "report.html"
    page.write_text(template.render(report=report, kinds=KINDS, looks=_LOOKS), encoding="utf-8")
    return page
