"""The row of ``run_results.json`` for a node that ends otherwise than it was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_cosmos_venv.fake_dbt.artifacts import FAILED, PARTIAL

_WANTED = "Scripted Error: a test wants it so"
_DAYS = tuple(f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))


def ended_row(
    row: Mapping[str, Any], status: str, message: str | None, failures: int | None, *, native: bool, path: str
) -> dict[str, Any]:
    """Return the row of a node with another end, as dbt would have written it.

    :param row: the row as it was recorded.
    :param status: the status.
    :param message: the message; None: dbt's own for such a status.
    :param failures: the number of rows that a test found; None: dbt's own.
    :param native: whether dbt 2 wrote the row.
    :param path: the path of the node's file inside the project.
    """
    kind, _, *words = str(row["unique_id"]).split(".")
    is_test = "test" in kind
    if failures is None and is_test:
        failures = {"fail": 1, "warn": 1, "pass": 0}.get(status)
    new = {
        **row,
        "status": status,
        "message": message or _message(kind, f"{words[0]} ({path})", status, failures, native=native),
    }
    if is_test or not native:
        new["failures"] = failures
    if native and failures is None:
        new.pop("failures", None)
    if status == "skipped":
        new |= {"execution_time": 0.0, "adapter_response": {}}
        if not native:
            new |= {"timing": [], "compiled": False if kind != "seed" else None, "compiled_code": None}
    elif status in FAILED:
        new["adapter_response"] = {}
    if status == PARTIAL:
        # The log has the words, run_results.json the count.
        new |= {"batch_results": {"successful": [list(_DAYS[:2])], "failed": [list(_DAYS[1:])]}}
    return new


def _message(kind: str, name: str, status: str, failures: int | None, *, native: bool) -> str | None:
    if native:
        database = f"Database Error in {kind} {name}\n  {_WANTED}"
        return {
            "success": "Succeeded",
            "skipped": "Skipped due to upstream failure",
            "fail": "Error",
            "pass": "Pass",
            "warn": "Warn",
        }.get(status, "Error" if kind == "unit_test" else database)
    if status in ("fail", "warn"):
        s = "" if failures == 1 else "s"
        return f"Got {failures} result{s}, configured to {status} if != 0"
    if status in FAILED:
        return f"Runtime Error in {kind} {name}\n  {_WANTED}"
    return "OK" if status == "success" else None
