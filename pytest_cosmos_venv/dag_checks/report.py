"""The summary of a run: a table in the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_cosmos_venv.dag_checks.checks import CHECKS
from pytest_cosmos_venv.text_table import table_lines

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"
"""The verdicts."""
_HEAD = ("DAG file", "tasks", "import", PASSED, FAILED, NOT_CHECKED)
_NUMBERS = (1, 2, 3)
_PROPERTIES = "cosmos_dags_"


@dataclass(kw_only=True)
class FileVerdicts:
    """The verdicts on one DAG file, with one release of dbt.

    :param tasks: the number of its tasks.
    :param seconds: how long its import took.
    :param checks: the name of each check -> verdict.
    :param reasons: why checks were not made, each reason once.
    """

    tasks: str
    seconds: str
    checks: dict[str, str] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)

    def names(self, verdict: str) -> list[str]:
        """Return the checks with a verdict, in the order of the checks: workers send them in any order.

        :param verdict: the verdict.
        """
        return [name for name in CHECKS if self.checks.get(name) == verdict]


Found = dict[str, FileVerdicts]
"""DAG file, as the run names it, with the release of dbt where there is one -> verdicts."""


def take(found: Found, report: Any) -> None:
    """Add the verdict of a report of pytest, if the report is that of a check.

    :param found: what was found so far; it is changed.
    :param report: the report.
    """
    told = {name: value for name, value in report.user_properties if name.startswith(_PROPERTIES)}
    file = told.get(f"{_PROPERTIES}file")
    if file is None or report.when != "call":
        return
    release = told.get(f"{_PROPERTIES}release")
    name = file if release is None else f"{file} (dbt {release})"
    tasks, seconds = told[f"{_PROPERTIES}tasks"], told[f"{_PROPERTIES}seconds"]
    one = found.setdefault(name, FileVerdicts(tasks=tasks, seconds=seconds))
    # The release stands behind the name, and so does the group that pytest-xdist adds with --dist=loadgroup.
    check = report.nodeid.rpartition("::")[2].partition("@")[0].partition("[")[0]
    one.checks[check] = NOT_CHECKED if report.skipped else PASSED if report.passed else FAILED
    if report.skipped:
        one.reasons.add(report.longrepr[2].partition(": ")[2])


def table(found: Found) -> list[str]:
    """Return the table for the terminal, a line for each file, and below it why checks were not made.

    :param found: the verdicts.
    """
    rows = [_row(name, found[name]) for name in sorted(found)]
    reasons = [f"{name}: {reason}" for name in sorted(found) for reason in sorted(found[name].reasons)]
    return [*table_lines([_HEAD, *rows], right=_NUMBERS), *reasons]


def _row(name: str, one: FileVerdicts) -> tuple[str, ...]:
    others = (", ".join(one.names(verdict)) or "-" for verdict in (FAILED, NOT_CHECKED))
    return name, one.tasks, f"{one.seconds} s", str(len(one.names(PASSED))), *others
