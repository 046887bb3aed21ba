"""What came of a dbt invocation? The lines that say why it failed, from dbt's own record or its output."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

FAILED_STATUSES = frozenset({"error", "fail", "runtime error"})
TAIL_LINES = 25
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _Result(msgspec.Struct):
    unique_id: str
    status: str
    message: str | None = None


class _RunResults(msgspec.Struct):
    results: list[_Result]


def failure_text(*, target: Path, lines: Sequence[str]) -> str:
    """Why dbt failed, in its own words: failed nodes of ``run_results.json`` if it got that far, then its last lines.

    :param target: dbt's target folder of this invocation.
    :param lines: everything that dbt wrote.
    """
    failed = [
        f"{result.unique_id}: {result.status}: {(result.message or '').strip()}"
        for result in _read_results(target / "run_results.json")
        if result.status in FAILED_STATUSES
    ]
    tail = [_COLOUR.sub("", line) for line in lines if line.strip()][-TAIL_LINES:]
    return "\n".join([*failed, *(["dbt's last lines:", *tail] if tail else ["dbt wrote nothing."])])


def _read_results(file: Path) -> list[_Result]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_RunResults).results
    except (OSError, msgspec.DecodeError):
        # dbt ended before writing it, or wrote it in a shape we do not know: its output has to do.
        return []
