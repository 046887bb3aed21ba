"""Several reports on one page, in a real browser: what differs comes first, by words, for keys and on small screens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from conformance.reporting.html_page import page
from conformance.reporting.verdicts import Verdict
from conformance.requirements import Level
from tests.conformance.browsing import choose, shown
from tests.conformance.reporting.test_report import judged, reported

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

P, F, N = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_APPLICABLE
VERDICTS = {
    "API-001": (Level.MUST, (P, P, P)),
    "CMD-001": (Level.SHOULD, (F, F, F)),
    "LOCK-001": (Level.MUST, (P, F, F)),
    "LOCK-002": (Level.SHOULD, (P, F, P)),
    "SEED-001": (Level.BEYOND, (P, N, N)),
}
NAMES = ("ours", "theirs", "older")
LOG = "".join(f"\nline {number}" for number in range(20))
EVIDENCE = "AssertionError: it must wait; seen: process {number} installs; the end of its log:" + LOG
CONTRAST = """
const luminance = color => {
  const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
  const linear = parts.map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const back = element => {
  const found = getComputedStyle(element).backgroundColor;
  return found === "rgba(0, 0, 0, 0)" ? back(element.parentElement) : found;
};
return [...document.querySelectorAll("body *")].filter(element => element.checkVisibility()
  && [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())).map(element => {
  const both = [getComputedStyle(element).color, back(element)].map(luminance).sort((one, other) => other - one);
  return [(both[0] + 0.05) / (both[1] + 0.05), element.outerHTML.slice(0, 120)];
}).filter(found => found[0] < 4.5);
"""


def report_of(index: int) -> dict[str, Any]:
    seen = EVIDENCE.format(number=4000 + index) + f" of {NAMES[index]}"
    return reported(
        *(
            judged(unique, level, found[index], evidence=seen if found[index] is F else "", needs=("watcher",))
            for unique, (level, found) in VERDICTS.items()
        ),
        name=NAMES[index],
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "compare.html"
    file.write_text(page([report_of(index) for index in range(3)]), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def opened(browser: WebDriver, file: str) -> Iterator[WebDriver]:
    browser.get("about:blank")
    browser.get(file)
    yield browser
    browser.set_window_size(1200, 1000)


def words_of(browser: WebDriver, selector: str) -> list[str]:
    found = browser.find_elements("css selector", selector)
    return [" ".join(each.text.split()) for each in found if each.is_displayed()]


def press(browser: WebDriver, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def test_what_differs_comes_first_and_what_was_promised_before_the_rest(opened: WebDriver) -> None:
    assert shown(opened) == ["LOCK-001", "LOCK-002", "SEED-001", "CMD-001", "API-001"]
    assert words_of(opened, "section h2") == ["Where they differ 3", "Kept by none 1", "Kept by all 1"]


def test_verdicts_are_told_by_words_and_signs_and_not_by_colors_alone(opened: WebDriver) -> None:
    assert words_of(opened, "#LOCK-001 summary .verdict") == [
        "✓ ours 1.2: passed",
        "✗ theirs 1.2: failed",
        "✗ older 1.2: failed",
    ]
    assert words_of(opened, "#LOCK-002 summary .verdict")[1] == "≠ theirs 1.2: differs"
    # The column says whose it is: the name in the cell is for who hears the page.
    assert opened.find_element("css selector", "#LOCK-001 .of").size["width"] == 1


def test_what_all_say_alike_can_be_left_out(opened: WebDriver) -> None:
    opened.find_element("id", "unlike").click()
    assert shown(opened) == ["LOCK-001", "LOCK-002", "SEED-001"]

    choose(opened, "area", "LOCK")
    assert shown(opened) == ["LOCK-001", "LOCK-002"]
    assert words_of(opened, "section h2") == ["Where they differ 2"]


def test_an_area_of_the_head_shows_its_requirements_alone(opened: WebDriver) -> None:
    opened.find_element("css selector", "button[data-area=CMD]").click()

    assert shown(opened) == ["CMD-001"]
    assert opened.find_element("id", "area").get_property("value") == "CMD"


def test_who_says_the_same_is_told_once_and_a_long_log_is_folded(opened: WebDriver) -> None:
    opened.find_element("css selector", "#LOCK-001 summary").click()

    assert words_of(opened, "#LOCK-001 .finding b") == ["theirs 1.2", "older 1.2"]
    assert words_of(opened, "#LOCK-001 .finding .verdict") == ["✗ failed"]
    first, rest = opened.find_elements("css selector", "#LOCK-001 pre")
    assert first.text.startswith("it must wait; seen: process 4001 installs")
    assert not rest.is_displayed()
    opened.find_element("css selector", "#LOCK-001 .finding details summary").click()
    assert rest.text.endswith("line 19 of theirs")


def test_a_link_shows_its_requirement_also_where_it_was_filtered_out(opened: WebDriver, file: str) -> None:
    choose(opened, "level", "SHOULD")

    opened.get(f"{file}#API-001")

    assert opened.find_element("css selector", "#API-001[open] .more").is_displayed()


def test_a_small_screen_names_each_implementation_and_is_not_wider_than_it_is(opened: WebDriver) -> None:
    opened.set_window_size(500, 900)

    assert opened.find_element("css selector", "#LOCK-001 .of").size["width"] > 40
    assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")
