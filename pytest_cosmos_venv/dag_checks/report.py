"""The summary of a run: a table in the terminal, ``report.json``, and ``report.html``, which needs no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.dag_checks.checks import CHECKS

VERSION = 1
"""The version of the form of ``report.json``."""
PASSED, FAILED, EXCEPTION, NOT_CHECKED = "passed", "failed", "exception", "not checked"
"""The verdicts."""
_TEMPLATES = Path(__file__).parents[1]
_LOOKS = {PASSED: ("✓", "good"), FAILED: ("✗", "bad"), EXCEPTION: ("~", "odd"), NOT_CHECKED: ("○", "none")}
_HEAD = ("DAG file", "tasks", "import", "passed", "failed", "exception", "not checked")
_NUMBERS = (1, 2, 3)
_PROPERTIES = "cosmos_dags_"
_SHOWN_REASONS = 20
_SHOWN_FILES = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict of one check on one file.

    :param verdict: ``passed``, ``failed``, ``exception`` or ``not checked``.
    :param text: what was found; why it was not checked; empty where it passed.
    :param reason: the reason of the exception; empty where there is none.
    """

    verdict: str
    text: str
    reason: str = ""


@dataclass(kw_only=True)
class FileVerdicts:
    """The verdicts on one DAG file.

    :param file: the DAG file, as the run names it.
    :param release: the release of dbt that lists nodes; None: the file's own dbt does.
    :param tasks: the number of its tasks; None: nobody has told it.
    :param seconds: how long its import took.
    :param checks: the name of each check that was made -> verdict.
    """

    file: str
    release: str | None
    tasks: int | None = None
    seconds: float | None = None
    checks: dict[str, Verdict] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file, with the release where there is one."""
        return self.file if self.release is None else f"{self.file} (dbt {self.release})"

    def names(self, verdict: str) -> list[str]:
        """Return the checks with a verdict.

        :param verdict: the verdict.
        """
        return [name for name, each in self.in_order().items() if each.verdict == verdict]

    def in_order(self) -> dict[str, Verdict]:
        """Return the verdicts in the order of the checks; workers send them in another one."""
        return {name: self.checks[name] for name in CHECKS if name in self.checks}


Found = dict[tuple[str, "str | None"], FileVerdicts]
"""DAG file, as the run names it, and release of dbt -> verdicts."""


def take(found: Found, report: Any) -> None:
    """Add what a report of pytest says, if it is that of a check.

    :param found: what was found so far; it is changed.
    :param report: the report.
    """
    told = {name: value for name, value in report.user_properties if name.startswith(_PROPERTIES)}
    file = told.get(f"{_PROPERTIES}file")
    if file is None or report.when != "call":
        return
    release = told.get(f"{_PROPERTIES}release")
    one = found.setdefault((file, release), FileVerdicts(file=file, release=release))
    one.tasks = int(told[f"{_PROPERTIES}tasks"])
    one.seconds = float(told[f"{_PROPERTIES}seconds"])
    # The release stands behind the name, and so does the group that a form of distribution of pytest-xdist writes.
    check = report.nodeid.rpartition("::")[2].partition("@")[0].partition("[")[0]
    one.checks[check] = _verdict(report, told.get(f"{_PROPERTIES}exception"))


def _verdict(report: Any, excepted: str | None) -> Verdict:
    if excepted is not None:
        return Verdict(verdict=EXCEPTION, text=excepted, reason=str(getattr(report, "wasxfail", "")))
    if report.passed:
        return Verdict(verdict=PASSED, text="")
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        return Verdict(verdict=NOT_CHECKED, text=str(reason).partition(": ")[2])
    return Verdict(verdict=FAILED, text=str(report.longreprtext))


def table(found: Found) -> list[str]:
    """Return the table for the terminal, a line for each file.

    :param found: the verdicts.
    """
    rows = [_HEAD, *map(_row, _in_order(found))]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    return [
        "  ".join(
            text.rjust(width) if at in _NUMBERS else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _in_order(found: Found) -> list[FileVerdicts]:
    return sorted(found.values(), key=lambda each: each.name)


def reasons(found: Found) -> list[str]:
    """Return why checks were not made, a line for each reason; empty where all were made.

    :param found: the verdicts.
    """
    files: dict[tuple[str, str], list[str]] = {}
    for one in _in_order(found):
        checks: dict[str, list[str]] = {}
        for check in one.names(NOT_CHECKED):
            checks.setdefault(one.checks[check].text, []).append(check)
        for reason, names in checks.items():
            files.setdefault((", ".join(names), reason), []).append(one.name)
    if not files:
        return []
    lines = [f"  {checks} of {_some(names)}: {reason}" for (checks, reason), names in files.items()]
    rest = [f"  and {len(lines) - _SHOWN_REASONS} more: pytest -rs"] if len(lines) > _SHOWN_REASONS else []
    return ["not checked, and why:", *lines[:_SHOWN_REASONS], *rest]


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN_FILES
    return ", ".join(names[:_SHOWN_FILES]) + (f" and {rest} more files" if rest > 0 else "")


def _row(one: FileVerdicts) -> tuple[str, ...]:
    return (
        one.name,
        str(one.tasks),
        f"{one.seconds:.3f} s",
        str(len(one.names(PASSED))),
        *(", ".join(one.names(verdict)) or "-" for verdict in (FAILED, EXCEPTION, NOT_CHECKED)),
    )


def data(found: Found, *, started: str, implementation: str | None) -> dict[str, Any]:
    """Return the report as plain data.

    :param found: the verdicts.
    :param started: when the run began, in ISO format.
    :param implementation: the implementation with its version; None: it is not known.
    """
    return {
        "version": VERSION,
        "started": started,
        "implementation": implementation,
        "files": [
            {
                "file": one.file,
                "dbt": one.release,
                "tasks": one.tasks,
                "seconds": one.seconds,
                "checks": {
                    check: {"verdict": each.verdict, "text": each.text, "reason": each.reason}
                    for check, each in one.in_order().items()
                },
            }
            for one in _in_order(found)
        ],
    }


def page(report: Mapping[str, Any]) -> str:
    """Return the report as one HTML page.

    :param report: the report, as ``data`` gives it.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(_TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    counts = {
        verdict: sum(each["verdict"] == verdict for file in report["files"] for each in file["checks"].values())
        for verdict in _LOOKS
    }
    template = environment.get_template("dag_checks/report.html.jinja")
    return template.render(report=report, checks=list(CHECKS), looks=_LOOKS, counts=counts)


def write(folder: Path, report: Mapping[str, Any], say: Callable[[str], object]) -> None:
    """Write ``report.json`` and ``report.html`` into a folder, which is made when it is missing.

    :param folder: the folder.
    :param report: the report, as ``data`` gives it.
    :param say: tells the user where they are, or why they could not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(page(report), encoding="utf-8")
    except OSError as error:
        say(f"No report could be written to {folder}: {error.strerror}. Name another folder: --cosmos-dags-report.")
        return
    say(f"report: {folder / 'report.html'} and report.json")
