"""No page has a measured figure that somebody has typed: it comes from benchmarks/results, by the role ``{measured}``.

A time, a size or a share on a page is a limit, a default or an agreed length. These are listed here, by page.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.installed import ROOT
from tests.whole.page_blocks import prose_of
from tools.figures import MEASURED, measured

DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if page.relative_to(DOCS).parts[0] != "tutorials" and "conformance" not in page.parts[len(DOCS.parts) :]
)
FIGURE = re.compile(
    r"(?<![\w.-])\d(?:[\d.,]*\d)?\s?(?:ms|s|seconds?|minutes?|[MGkK]i?B|%|times|x)\b"
    r"|\b(?:half|third|quarter|fifth|sixth|tenth|hundredth)\s(?:of\b|a second)"
    r"|\b(?:two|three|four|five|ten|twelve|twenty)\s(?:milliseconds|seconds|minutes|times)\b",
)
AGREED = {
    "explanation/differences-from-cosmos.md": "3 s; half of",
    "explanation/environment-store.md": "10 s",
    "explanation/environments.md": "30 seconds; half of",
    "explanation/kills.md": "five seconds",
    "explanation/locks.md": "0.05 s",
    "explanation/parsing.md": "30 seconds; ten seconds",
    "explanation/warm.md": "16 MB; 24 times; 5 s; 60 s; 64 MB",
    "how-to/conformance.md": "1 GiB; 256 MiB; 40 times; five seconds",
    "how-to/dags/batches.md": "sixth of",
    "how-to/dags/sources.md": "five minutes",
    "how-to/dags/watcher.md": "five minutes; three seconds",
    "how-to/environments/more-machines.md": "20 s; 10 s",
    "how-to/operating/slow-dbt-ls.md": "30 seconds; half of; 60 seconds",
    "how-to/operating/upgrading-dbt.md": "86400 seconds",
    "how-to/testing/continuous-integration.md": "30 seconds",
    "how-to/testing/cookbook.md": "twelve seconds; two minutes",
    "how-to/testing/dbt-projects.md": "five seconds",
    "how-to/testing/explore.md": "30 s",
    "how-to/testing/faults.md": "two minutes",
    "how-to/testing/options.md": "three minutes; ten minutes",
    "how-to/testing/processes.md": "30 seconds",
    "how-to/testing/racers.md": "three times; 300 seconds",
    "how-to/testing/races.md": "5 ms",
    "how-to/testing/recordings.md": "ten times",
    "how-to/testing/wheelhouse.md": "two minutes; three times; twelve seconds; five times",
    "reference/cli.md": "ten minutes; 1 KB; 8 MB; 60 s",
    "reference/loading.md": "half of; 32 MiB; five seconds",
    "reference/what-works.md": "ten minutes",
}
"""Page -> what it says of limits, defaults, options of others, and lengths that a test asks for."""


def figures_in(text: str) -> list[str]:
    """What looks like a measured figure in a text. Code in a sentence is an output, a setting or a call."""
    return [" ".join(each.split()) for each in FIGURE.findall(re.sub(r"`[^`\n]+`", "", text))]


def test_a_figure_is_found() -> None:
    text = "It takes 1.5 s and 20 MB, 3 times as much, a third of it, `--seconds=5 s`, for 1,000 models."

    assert figures_in(text) == ["1.5 s", "20 MB", "3 times", "third of"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_has_no_typed_figure(page: Path) -> None:
    agreed = AGREED.get(str(page.relative_to(DOCS)), "").split("; ")

    found = [each for each in figures_in(prose_of(page)) if each not in agreed]
    assert found == [], "take it from benchmarks/results by {measured}, leave it out, or list it where it is agreed"


def test_nothing_is_listed_that_no_page_says() -> None:
    gone = [
        f"{page}: {figure}"
        for page, figures in AGREED.items()
        for figure in figures.split("; ")
        if figure not in figures_in(prose_of(DOCS / page))
    ]

    assert gone == []


def test_each_measured_figure_is_on_a_page_and_stored() -> None:
    used = {name for page in DOCS.rglob("*.md") for name in re.findall(r"\{measured\}`([^`]+)`", prose_of(page))}

    assert used == MEASURED.keys()
    assert all(re.fullmatch(r"[\d.,]+( ms| s| MB| schedules)?", measured(name)) for name in MEASURED)
