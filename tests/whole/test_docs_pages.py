"""Each page has one title, and begins with a sentence: what its reader gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.installed import ROOT
from tests.whole.page_blocks import prose_of

PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_a_page_has_one_title_and_begins_with_a_sentence(page: Path) -> None:
    text = prose_of(page)
    title, first, *_ = text.split("\n\n")

    assert re.fullmatch(r"# .+", title)
    assert re.findall(r"^# ", text, re.MULTILINE) == ["# "]
    assert re.match(r"\w|`|\[|\*\*", first)
    assert re.search(r"[.:?*]\s*$", first)
