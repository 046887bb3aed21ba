"""A test may be left out for three days, with its reason and a test that stands in for it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.quarantine import complaints

TODAY = date(2026, 11, 28)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("since='2026-11-25', reason='ports', instead='test_other'", [], id="three-days"),
        pytest.param(
            "since='2026-11-24', reason='ports', instead='test_other'",
            ["test_marked.py:3: quarantined since 2026-11-24, longer than 3 days"],
            id="older",
        ),
        pytest.param(
            "since='2026-11-28', reason='ports'",
            ["test_marked.py:3: the mark quarantined needs instead, reason, since, and nothing else"],
            id="no-stand-in",
        ),
        pytest.param(
            "since='2026-11-28', reason='ports', instead='test_gone'",
            ["test_marked.py:3: no test has the name test_gone"],
            id="stand-in-is-gone",
        ),
    ],
)
def test_a_mark_has_a_day_a_reason_and_a_test_that_stands_in(words: str, expected: list[str], tmp_path: Path) -> None:
    quarantined(tmp_path, words)

    assert complaints(tmp_path, TODAY) == expected


def test_at_most_three_tests_are_quarantined(tmp_path: Path) -> None:
    quarantined(tmp_path, *["since='2026-11-28', reason='ports', instead='test_other'"] * 4)

    assert complaints(tmp_path, TODAY) == ["4 tests are quarantined, at most 3 may be"]


def quarantined(folder: Path, *marks: str) -> None:
    """Write a file of tests, each with its mark, and one without."""
    tests = "".join(
        f"@pytest.mark.quarantined({words})\ndef test_{index}(): ...\n" for index, words in enumerate(marks)
    )
    (folder / "test_marked.py").write_text(f"import pytest\n\n{tests}")
    (folder / "test_others.py").write_text("def test_other(): ...\n")
