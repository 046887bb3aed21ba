"""Every worker begins with long tests, and no test is lost or run twice."""

from __future__ import annotations

import pytest

from tests.order import long_ones_first


@pytest.mark.parametrize(
    ("items", "workers", "seconds", "expected"),
    [
        pytest.param("a1 b1 C1 d2 e2 F2 g2", 2, {}, "C1 a1 b1 F2 d2 e2 g2", id="one-each"),
        pytest.param("a1 b1 C1 D2 E3 F4 g4 h4", 3, {"1": 90}, "C1 a1 D2 F4 b1 E3 g4 h4", id="more-than-workers"),
        pytest.param("A1 B2 C3 D4", 2, {"1": 5, "2": 5, "3": 5, "4": 20}, "D4 A1 B2 C3", id="longest-first"),
        pytest.param("A1 B1 C1", 2, {}, "A1 B1 C1", id="one-file"),
        pytest.param("a1 b1 c2 d2", 2, {}, "a1 b1 c2 d2", id="none"),
        pytest.param("", 2, {}, "", id="no-tests"),
    ],
)
def test_each_share_begins_with_the_long_ones_of_whole_files(
    items: str, workers: int, seconds: dict[str, float], expected: str
) -> None:
    """A long test has a large letter; the number is that of its file."""
    ordered = long_ones_first(
        items.split(), workers, is_long=lambda item: item[0].isupper(), file_of=lambda item: item[1], seconds=seconds
    )

    assert " ".join(ordered) == expected
