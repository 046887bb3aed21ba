"""The command ``cosmos-conformance``: it writes an adapter to begin with, compares reports, checks submitted reports,
and lists the implementations with kept reports.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.text_table import table_lines

from .reporting.comparison import labels, rows
from .reporting.html_page import page
from .reporting.kept_reports import faults, implementations_page, kept_folders
from .reporting.report import read_report

_BAD_USE = 2
_WHAT = "Write an adapter, compare conformance reports, check those that are handed in, and list implementations."
_EXAMPLE = Path(__file__).with_name("example_adapter.py")


def main(argv: Sequence[str] | None = None) -> int:
    """Write an adapter; compare, validate or list reports.

    :param argv: words of the command line; None: those of this process.
    :returns: 0; 1 when a folder is not valid; 2 when something is no report, there is no such folder, or a file cannot
        be written.
    """
    parser = argparse.ArgumentParser(prog="cosmos-conformance", description=_WHAT)
    commands = parser.add_subparsers(required=True)
    init = commands.add_parser("init", help="write an adapter that works, and asks what to fill in")
    init.add_argument("file", metavar="FILE", nargs="?", type=Path, default="my_adapter.py", help="a Python module")
    init.set_defaults(run=_init)
    compare = commands.add_parser("compare", help="one table of several reports")
    compare.add_argument(
        "reports", metavar="REPORT", nargs="+", type=Path, help="report.json, or the folder that --cosmos-report names"
    )
    compare.add_argument("--html", metavar="FILE", type=Path, help="write the comparison as a page, with all evidence")
    compare.add_argument("--all", action="store_true", help="also what is the same in all of them")
    compare.set_defaults(run=_compare)
    validate = commands.add_parser("validate", help="what keeps reports from being accepted: a sentence for each fault")
    words = "folder of an implementation, or one that holds such folders"
    validate.add_argument("folders", metavar="DIR", nargs="+", type=Path, help=words)
    validate.set_defaults(run=_validate)
    listing = commands.add_parser("implementations", help="a page of all implementations of which reports are kept")
    listing.add_argument("folder", metavar="DIR", type=Path, help="the folder of all kept reports")
    listing.add_argument("page", metavar="FILE", type=Path, help="the page to write, as Markdown")
    listing.set_defaults(run=_list_implementations)
    options = parser.parse_args(argv)
    try:
        return int(options.run(options))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return _BAD_USE


def _init(options: argparse.Namespace) -> int:
    file: Path = options.file
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise ValueError(f"{file} is the name of no Python module: give one such as my_adapter.py.")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(_EXAMPLE.read_text(encoding="utf-8").replace("my_adapter:", f"{file.stem}:"))
    except FileExistsError:
        raise ValueError(f"{file} is there already: give another FILE.") from None
    named = f"--cosmos-implementation={file.stem}:MyAdapter"
    print(f"{file}: written. It works as it stands, and asks what to fill in. Try it:")
    print(f"PYTHONPATH={file.parent} pytest --cosmos-conformance {named} --cosmos-requirement=ENV-002")
    return 0


def _compare(options: argparse.Namespace) -> int:
    reports = [read_report(file) for file in options.reports]
    for line in table(reports, shows_all=options.all):
        print(line)
    if options.html is not None:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        options.html.write_text(page(reports), encoding="utf-8")
        print(f"\n{options.html}: written")
    return 0


def _validate(options: argparse.Namespace) -> int:
    folders = [folder for each in options.folders for folder in kept_folders(each)]
    found = [fault for folder in folders for fault in faults(folder)]
    for fault in found:
        print(fault)
    if not found:
        print(f"{len(folders)} valid")
    return 1 if found else 0


def _list_implementations(options: argparse.Namespace) -> int:
    text = implementations_page(options.folder, options.page.parent)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(text, encoding="utf-8")
    print(f"{options.page}: written")
    return 0


def table(reports: Sequence[Mapping[str, Any]], *, shows_all: bool = False) -> list[str]:
    """The lines of a table: one line for each requirement, one column for each report. Requirements with the same
    verdict in all reports are left out and counted.

    Among several reports, a failed SHOULD or BEYOND "differs": no implementation promises these.

    :param reports: each as ``report.json`` has it.
    :param shows_all: whether to show requirements with the same verdict too.
    """
    found = rows(reports)
    shown = [row for row in found if shows_all or not row.is_alike]
    lines = [["", "", *labels(reports)], *([row.id, row.level.value, *row.words] for row in shown)]
    told = table_lines(lines)
    left_out = len(found) - len(shown)
    more = f"({left_out} requirements with one verdict in all reports that have judged them; --all shows them)"
    return [*told, more] if left_out else told


if __name__ == "__main__":
    sys.exit(main())
