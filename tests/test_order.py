"""Every worker begins with long tests, and no test is lost or run twice."""

from __future__ import annotations

import pytest

from tests.order import long_ones_first


@pytest.mark.parametrize(
    ("items", "workers", "expected"),
    [
        pytest.param("abCdeFg", 2, "CabFdeg", id="one-each"),
        pytest.param("abCDEFgh", 3, "CFDabEgh", id="more-than-workers"),
        pytest.param("ABC", 2, "ACB", id="only-long-ones"),
        pytest.param("abcd", 2, "abcd", id="none"),
        pytest.param("", 2, "", id="no-tests"),
    ],
)
def test_each_share_begins_with_long_ones(items: str, workers: int, expected: str) -> None:
    assert "".join(long_ones_first(items, workers, is_long=str.isupper)) == expected
