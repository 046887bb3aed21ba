"""Each link of a page to a file of this repository leads to that file, and to a heading of it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.installed import ROOT
from tests.whole.page_blocks import prose_of

LINK = re.compile(r"\]\((?P<target>[^)\s#]*)(?:#(?P<anchor>[^)\s]+))?\)")
FOLDERS = ("docs", "examples", "benchmarks", "conformance", "pytest_cosmos_venv")
PAGES = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]


# A screen reader lists links without the sentence around them.
NAME_NOTHING = {
    *("above", "already", "below", "details", "elsewhere", "here", "how", "more", "see above", "see below", "that"),
    *("the others", "the page", "there", "this", "this list", "this page", "why", "another thing", "a page"),
    *("built", "checked", "cleaned", "count", "finds", "forked", "keeps", "kept", "refused", "runs", "selects"),
    *("shows", "unchanged", "verified", "wait", "waits"),
}


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """The anchors that GitHub and the site give to the headings of a page."""
    text = prose_of(page)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = re.findall(r"^\((\S+)\)=$|<a id=\"(\S+)\">", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return frozenset(slugs | {each for pair in named for each in pair if each})


def is_generated(page: Path) -> bool:
    """Whether the build of the site writes headings into a page, and so is what finds a link to none."""
    return bool(re.search(r"^```{generated} (?!settings-table)", page.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_links_lead_somewhere(page: Path) -> None:
    text = prose_of(page)
    lost = []
    for link in LINK.finditer(text):
        if "://" in link["target"] or link["target"].startswith("mailto:"):
            continue
        target = page.parent / link["target"] if link["target"] else page
        needs_anchor = link["anchor"] and target.suffix == ".md" and not is_generated(target)
        if not target.exists() or (needs_anchor and link["anchor"] not in anchors_of(target)):
            lost.append(link.group())

    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_links_name_where_they_lead(page: Path) -> None:
    words = [" ".join(each.split()) for each in re.findall(r"\[([^\]\[]+)\]\(", prose_of(page))]

    assert [each for each in words if each.lower() in NAME_NOTHING] == []
