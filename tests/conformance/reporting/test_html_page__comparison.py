"""Several reports on one page, in a real browser: what differs comes first, and all else can be left out."""

from __future__ import annotations

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


def report_of(index: int) -> dict[str, Any]:
    return reported(
        *(judged(unique, level, found[index], needs=("watcher",)) for unique, (level, found) in VERDICTS.items()),
        name=NAMES[index],
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "compare.html"
    file.write_text(page([report_of(index) for index in range(3)]), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def opened(browser: WebDriver, file: str) -> WebDriver:
    browser.get("about:blank")
    browser.get(file)
    return browser


def words_of(browser: WebDriver, selector: str) -> list[str]:
    found = browser.find_elements("css selector", selector)
    return [" ".join(each.text.split()) for each in found if each.is_displayed()]


def test_what_differs_comes_first_and_what_was_promised_before_the_rest(opened: WebDriver) -> None:
    assert shown(opened) == ["LOCK-001", "LOCK-002", "SEED-001", "CMD-001", "API-001"]
    assert words_of(opened, "section h2") == ["Where they differ 3", "Kept by none 1", "Kept by all 1"]


def test_what_all_say_alike_can_be_left_out(opened: WebDriver) -> None:
    opened.find_element("id", "unlike").click()
    assert shown(opened) == ["LOCK-001", "LOCK-002", "SEED-001"]

    choose(opened, "area", "LOCK")
    assert shown(opened) == ["LOCK-001", "LOCK-002"]
    assert words_of(opened, "section h2") == ["Where they differ 2"]


def test_a_link_shows_its_requirement_also_where_it_was_filtered_out(opened: WebDriver, file: str) -> None:
    choose(opened, "level", "SHOULD")

    opened.get(f"{file}#API-001")

    assert opened.find_element("css selector", "#API-001[open] .more").is_displayed()
