"""The site in a real browser: read from the disk, on a phone, in the dark, by keyboard and by a screen reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.installed import ROOT
from tests.tools.site.built_site import PHONE, SCHEMES, axe_findings, build, needs_sphinx, requested_schemes, show_as
from tools.browser import wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = [pytest.mark.long, pytest.mark.exhaustive, needs_sphinx]  # test_site__build.py is left before a landing
KINDS = (
    *("index", "search"),
    *("tutorials/index", "how-to/index", "how-to/testing/races", "explanation/index", "explanation/architecture"),
    *(f"reference/{name}" for name in ("index", "settings", "configs", "command-line", "errors", "fixtures")),
    *("reference/requirements", "reference/operators"),
)
"""A page of each kind."""
DOCS = ROOT / "docs"
WITH_DIAGRAMS = tuple(
    page.relative_to(DOCS).with_suffix("").as_posix()
    for page in sorted(DOCS.glob("*/**/*.md"))
    if "```mermaid" in page.read_text(encoding="utf-8")
)

READ = [
    pytest.param(page, scheme, id=f"{page}-{scheme}", marks=() if (number + turn) % 2 else pytest.mark.exhaustive)
    for number, page in enumerate(sorted({*KINDS, *WITH_DIAGRAMS}))
    for turn, scheme in enumerate(SCHEMES)
]
"""Each page in light and in dark colours; one of the two, in turns, is exhaustive."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def opened(browser: WebDriver, site: Path, page: str) -> None:
    browser.get((site / page).with_suffix(".html").as_uri())
    undrawn = "pre.diagram:not([data-drawn])"
    wait_until(lambda: not browser.find_elements("css selector", undrawn), "the diagrams", seconds=60)


def test_the_search_finds_words_from_the_disk(site: Path, browser: WebDriver) -> None:
    show_as(browser, "light")
    opened(browser, site, "index")
    requested_schemes(browser)

    box = browser.find_element("css selector", "input[name=q]")
    box.send_keys("virtualenv_keep_failed\n")
    results = "ul.search li > a"
    wait_until(lambda: bool(browser.find_elements("css selector", results)), "a result", seconds=30)

    found = [each.get_attribute("href") or "" for each in browser.find_elements("css selector", results)]
    assert any("/reference/settings.html" in each for each in found), found
    assert requested_schemes(browser) <= {"file", "data"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_page_needs_the_network(scheme: str, site: Path, browser: WebDriver) -> None:
    show_as(browser, scheme)
    requested_schemes(browser)

    for page in KINDS:
        opened(browser, site, page)

    assert requested_schemes(browser) <= {"file", "data"}


WIDER_THAN_SHOWN = """
const boxes = [document.querySelector("article")];
while (boxes.at(-1).parentElement) boxes.push(boxes.at(-1).parentElement);
const ends = it => getComputedStyle(it).overflowX !== "visible" && it.scrollWidth > it.clientWidth;
return boxes.filter(ends).map(it => `${it.tagName} ${it.className}`);
"""
"""The boxes around a page that would have to be scrolled; those in it may scroll inside themselves."""


def test_no_page_is_wider_than_a_phone(site: Path, browser: WebDriver) -> None:
    show_as(browser, "light", PHONE)
    pages = [page for page in sorted(site.rglob("*.html")) if {"_static", "_downloads"}.isdisjoint(page.parts)]
    wide = {}
    for page in pages:
        opened(browser, site, page.relative_to(site).as_posix())
        if boxes := browser.execute_script(WIDER_THAN_SHOWN):
            wide[page.name] = boxes

    assert len(pages) > 50
    assert wide == {}


def test_the_page_has_the_colours_that_its_reader_wants(site: Path, browser: WebDriver) -> None:
    shades = {}
    for scheme in SCHEMES:
        show_as(browser, scheme)
        opened(browser, site, "reference/settings")
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(number) for number in colour.strip("rgba()").split(",")[:3]) / 3

    assert shades["dark"] < 60
    assert shades["light"] > 200


def test_the_keyboard_comes_to_the_content_and_sees_where_it_is(site: Path, browser: WebDriver) -> None:
    from selenium.webdriver import ActionChains, Keys

    show_as(browser, "light")
    opened(browser, site, "how-to/index")
    focused = "const it = document.activeElement;"

    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.execute_script(f"{focused} return it.textContent.trim()") == "Skip to content"
    top = f"{focused} return it.getBoundingClientRect().top"
    wait_until(lambda: browser.execute_script(top) >= 0, "the link to the content, in sight", seconds=30)

    ActionChains(browser).send_keys(Keys.ENTER).send_keys(Keys.TAB).perform()
    assert browser.execute_script(f"{focused} return it.closest('article, [role=main]') !== null")
    seen = browser.execute_script(f"{focused} const s = getComputedStyle(it); return s.outlineStyle + s.outlineWidth")
    assert seen == "solid2px"


@pytest.mark.parametrize(("page", "scheme"), READ)
def test_nothing_keeps_a_reader_out(page: str, scheme: str, site: Path, browser: WebDriver) -> None:
    show_as(browser, scheme)
    opened(browser, site, page)

    assert axe_findings(browser) == []


def test_what_scrolls_inside_a_page_can_be_scrolled_by_the_keyboard(site: Path, browser: WebDriver) -> None:
    show_as(browser, "light", PHONE)
    opened(browser, site, "explanation/architecture")

    all_boxes = "[...document.querySelectorAll('.table-wrapper, .highlight > pre, pre.diagram')]"
    boxes = f"{all_boxes}.filter(it => it.scrollWidth > it.clientWidth)"
    assert browser.execute_script(f"return {boxes}.length") > 0
    assert browser.execute_script(f"return {boxes}.every(it => it.tabIndex === 0 && it.ariaLabel)")
    assert axe_findings(browser) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_diagram_is_drawn_in_the_colours_of_the_page_and_has_a_name(
    scheme: str, site: Path, browser: WebDriver
) -> None:
    show_as(browser, scheme)
    opened(browser, site, "explanation/architecture")

    drawn = "[...document.querySelectorAll('pre.diagram')]"
    assert browser.execute_script(f"return {drawn}.map(it => it.dataset.drawn)") == [scheme]
    assert browser.execute_script(f"return {drawn}.map(it => it.querySelector('svg').ariaLabel)") == [
        "Diagram: Architecture"
    ]
