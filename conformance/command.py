"""The command ``cosmos-conformance``: it compares reports, of several implementations or of several versions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .reporting.comparison import Row, labels, rows
from .reporting.html_page import page
from .reporting.report import read_report

_BAD_USE = 2
_WHAT = "Compare conformance reports, of several implementations or of several versions."


def main(argv: Sequence[str] | None = None) -> int:
    """Compare reports.

    :param argv: words of the command line; None: those of this process.
    :returns: 0, or 2 when one of them is no report or the page cannot be written.
    """
    parser = argparse.ArgumentParser(prog="cosmos-conformance", description=_WHAT)
    compare = parser.add_subparsers(dest="command", required=True).add_parser(
        "compare", help="one table of several reports"
    )
    compare.add_argument(
        "reports", metavar="REPORT", nargs="+", type=Path, help="report.json, or the folder that --cosmos-report names"
    )
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
        try:
            options.html.parent.mkdir(parents=True, exist_ok=True)
            options.html.write_text(page(reports), encoding="utf-8")
        except OSError as error:
            print(f"--html {options.html} cannot be written: {error.strerror or error}.", file=sys.stderr)
            return _BAD_USE
        print(f"\n{options.html}: written")
    return 0


def table(reports: Sequence[Mapping[str, Any]], *, shows_all: bool = False) -> list[str]:
    """Lines of a table: a requirement a line, a report a column; what all say alike is left out and counted.

    What fails and was not promised "differs": a SHOULD or a BEYOND is not promised by any implementation.

    :param reports: each as ``report.json`` has it.
    :param shows_all: whether to show also what all say alike.
    """
    found = rows(reports)
    shown = [row for row in found if shows_all or not row.is_alike]
    lines = [["", "", *labels(reports)], *([row.id, row.counted_as, *row.words] for row in shown)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    told = ["  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    left_out = [] if shows_all else [row for row in found if row.is_alike]
    return [*told, f"({_in_words(left_out)}; --all shows them)"] if left_out else told


def _in_words(left_out: Sequence[Row]) -> str:
    partly = sum(len(set(row.words)) > 1 for row in left_out)
    counts = {
        "requirements with one verdict in all of them": len(left_out) - partly,
        "that were not run in all of them, and else have one verdict": partly,
    }
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)
