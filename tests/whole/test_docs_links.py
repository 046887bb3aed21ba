"""Links of pages that are not in the site: the build of the site looks at the others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.installed import ROOT

FOLDERS = ("examples", "benchmarks", "conformance", "pytest_cosmos_venv")
PAGES = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_links_lead_to_files_of_the_repository(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#:]+)(?:#[^)\s]+)?\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []
