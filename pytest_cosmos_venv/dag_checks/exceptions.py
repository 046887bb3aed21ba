"""The exceptions of the ini file: checks of a DAG file that may fail, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

OPTION = "cosmos_dags_exceptions"
"""The option in the ini file."""
_FORM = "dags/daily.py::tests: the reason"


class BadException(Exception):
    """A line of the option cannot be. The text is for the person who started pytest."""


def read_exceptions(lines: Sequence[str], *, root: Path, checks: Collection[str]) -> Mapping[tuple[Path, str], str]:
    """Return the exceptions: DAG file and check -> reason.

    :param lines: the lines of the option.
    :param root: the folder to which paths are relative.
    :param checks: the names of all checks.
    :raises BadException: a line has another form, no reason, no such file or no such check, or stands there twice.
    """
    found: dict[tuple[Path, str], str] = {}
    for line in filter(None, map(str.strip, lines)):
        place, _, rest = line.partition("::")
        check, _, reason = (part.strip() for part in rest.partition(":"))
        if not place or not check:
            raise BadException(f"{OPTION}: {line!r} is no exception: write {_FORM}")
        if not reason:
            raise BadException(f"{OPTION}: {line!r} has no reason: write {_FORM}")
        # A name with a release, such as tests[dbt-2], is for runs with several of them.
        if check.partition("[")[0] not in checks:
            raise BadException(f"{OPTION}: {line!r}: there is no check {check!r}. The checks are {', '.join(checks)}.")
        file = (root / place.strip()).resolve()
        if not file.is_file():
            raise BadException(f"{OPTION}: {line!r}: there is no file {place.strip()}: drop the line, or correct it.")
        if (file, check) in found:
            raise BadException(f"{OPTION}: {line!r} stands there twice.")
        found[file, check] = reason
    return found
