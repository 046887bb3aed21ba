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


INDEXES = [page for page in PAGES if page.name == "index.md" and ":hidden:" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", INDEXES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_an_index_whose_contents_are_hidden_links_to_each_page(page: Path) -> None:
    linked = set(re.findall(r"\]\(([\w/-]+\.md)[#)]", page.read_text(encoding="utf-8")))
    pages = {each.name for each in page.parent.glob("*.md")} | {
        f"{each.parent.name}/index.md" for each in page.parent.glob("*/index.md")
    }

    assert pages - {"index.md"} <= linked
