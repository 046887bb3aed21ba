"""The measured figures of README and of the pages are those of benchmarks/results: nobody types one."""

from __future__ import annotations

import re

from tests.installed import ROOT
from tools.figures import MEASURED, PAGE, measured, with_table


def test_the_table_of_readme_is_what_make_figures_writes() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_table(page), "make figures writes it"


def test_each_measured_role_of_a_page_has_a_stored_figure() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")]

    used = {name for page in pages for name in re.findall(r"\{measured\}`([\w-]+)`", page)}

    assert used == MEASURED.keys()
    assert all(re.fullmatch(r"[\d.,]+( ms| s| MB| schedules)?", measured(name)) for name in used)
