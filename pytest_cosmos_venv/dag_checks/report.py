"""The summary of a run: a table in the terminal, and the reasons of checks that were not made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_cosmos_venv.dag_checks.checks import CHECKS
from pytest_cosmos_venv.text_table import table_lines

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"
"""The verdicts."""
_HEAD = ("DAG file", "tasks", "import", "passed", "failed", "not checked")
_NUMBERS = (1, 2, 3)
_PROPERTIES = "cosmos_dags_"
_SHOWN_REASONS = 20
_SHOWN_FILES = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict of one check on one file.

    :param verdict: ``passed``, ``failed`` or ``not checked``.
    :param text: what was found; why it was not checked; empty where it passed.
    """

    verdict: str
    text: str


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
    one.checks[check] = _verdict(report)


def _verdict(report: Any) -> Verdict:
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
    return table_lines(rows, right=_NUMBERS)


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
        *(", ".join(one.names(verdict)) or "-" for verdict in (FAILED, NOT_CHECKED)),
    )
