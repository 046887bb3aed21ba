"""Quarantine of flaky tests: they are deselected for at most three days, until the cause is found.

    @pytest.mark.quarantined(since="2026-11-28", reason="the port is taken now and then", instead="test_lock__explored")

``make check`` fails when a mark is older, when there are more than three marks, or when ``instead`` names no test. That
test must check the same behaviour. ``make check`` runs ``python -m tests.quarantine``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
MARK = "quarantined"
MOST = 3
LONGEST = timedelta(days=3)
WORDS = {"since", "reason", "instead"}


def take_out_quarantined(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests with the mark."""
    out = [item for item in items if item.get_closest_marker(MARK)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if not item.get_closest_marker(MARK)]


def complaints(folder: Path, today: date) -> list[str]:
    """Return the errors in the marks of a folder of tests.

    :param today: the present day, for the age of the marks.
    """
    found = list(_marks(folder))
    said = [f"{len(found)} tests are quarantined, at most {MOST} may be"] if len(found) > MOST else []
    for place, words in found:
        if words.keys() != WORDS:
            said.append(f"{place}: the mark {MARK} needs {', '.join(sorted(WORDS))}, and nothing else")
        elif today - date.fromisoformat(words["since"]) > LONGEST:
            said.append(f"{place}: quarantined since {words['since']}, longer than {LONGEST.days} days")
        elif not any(
            f"def {words['instead']}(" in path.read_text(encoding="utf-8") for path in folder.rglob("test_*.py")
        ):
            said.append(f"{place}: no test has the name {words['instead']}")
    return said


def _marks(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(f"mark.{MARK}"):
                words = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
                yield f"{path.relative_to(folder)}:{node.lineno}", words


if __name__ == "__main__":
    sys.exit("\n".join(complaints(TESTS, datetime.now(tz=timezone.utc).date())) or 0)
