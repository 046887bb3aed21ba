"""What does ``cosmos-conformance`` do? It compares reports, of several implementations or of several versions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .html_page import page
from .judging import Verdict
from .report import read_report
from .requirements import Level

_BAD_USE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Compare reports; 0, or 2 when one of them is none."""
    parser = argparse.ArgumentParser(prog="cosmos-conformance", description=(__doc__ or "").partition("\n")[0])
    compare = parser.add_subparsers(dest="command", required=True).add_parser(
        "compare", help="one table of several reports"
    )
    compare.add_argument("reports", metavar="REPORT.json", nargs="+", type=Path, help="as --cosmos-report writes it")
    compare.add_argument("--html", metavar="FILE", type=Path, help="write the comparison as a page, with all evidence")
    compare.add_argument("--all", action="store_true", help="also what is the same in all of them")
    options = parser.parse_args(argv)
    try:
        reports = [read_report(file) for file in options.reports]
    except ValueError as error:
        print(error, file=sys.stderr)
        return _BAD_USE
    for line in table(reports, shows_all=options.all):
        print(line)
    if options.html is not None:
        options.html.write_text(page(reports), encoding="utf-8")
        print(f"\n{options.html}: written")
    return 0


def table(reports: Sequence[Mapping[str, Any]], *, shows_all: bool = False) -> list[str]:
    """Lines of a table: a requirement a line, a report a column; what all say alike is left out and counted.

    What fails and was not promised "differs": a SHOULD or a BEYOND is no promise of anybody's.
    """
    names = [f"{each['implementation']['name']} {each['implementation']['version']}" for each in reports]
    rows: dict[tuple[str, str], list[str]] = {}
    for index, report in enumerate(reports):
        for record in report["requirements"]:
            cells = rows.setdefault((record["id"], record["level"]), ["not in it"] * len(reports))
            cells[index] = _word(record)
    shown = {key: cells for key, cells in sorted(rows.items()) if shows_all or len(set(cells)) > 1}
    lines = [["", "", *names], *([*key, *cells] for key, cells in shown.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    told = ["  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    alike = len(rows) - len(shown)
    return [*told, f"({alike} requirements with one verdict in all of them; --all shows them)"] if alike else told


def _word(record: Mapping[str, Any]) -> str:
    is_promise = record["level"] == Level.MUST.value
    return "differs" if record["verdict"] == Verdict.FAILED.value and not is_promise else str(record["verdict"])
