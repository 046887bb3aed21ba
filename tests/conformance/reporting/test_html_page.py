"""The report's page in a real browser, without a screen: it can be searched and filtered, and asks no host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from conformance.reporting.html_page import page
from conformance.reporting.verdicts import Verdict
from conformance.requirements import Level
from tests.conformance.browsing import choose, shown
from tests.conformance.reporting.test_report import SOUND, judged, reported

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = [pytest.mark.long, pytest.mark.proof, pytest.mark.timeout(180)]

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20"/></svg>'


@pytest.fixture(scope="module")
def opened(browser: WebDriver, tmp_path_factory: pytest.TempPathFactory) -> WebDriver:
    report = reported(
        *SOUND,
        judged("LOCK-003", Level.MUST, Verdict.FAILED, evidence="seen: three\nlines of\nevidence", picture=SVG),
        judged("CMD-001", Level.MUST, Verdict.PASSED),
    )
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page([report]), encoding="utf-8")
    browser.get(file.as_uri())
    return browser


@pytest.fixture(autouse=True)
def _nothing_chosen(opened: WebDriver) -> None:
    for control in ("search", "level", "area", "verdict"):
        choose(opened, control, "")


@pytest.mark.parametrize(
    ("control", "value", "expected"),
    [
        pytest.param("search", "lock", ["LOCK-003", "LOCK-002", "LOCK-001"], id="by-id"),
        pytest.param("search", "THREE evidence", ["LOCK-003"], id="by-two-words-of-the-evidence"),
        pytest.param("search", "nothing like it", [], id="by-what-is-not-there"),
        pytest.param("level", "SHOULD", ["LOCK-002"], id="by-level"),
        pytest.param("area", "CMD", ["CMD-001"], id="by-area"),
        pytest.param("verdict", "passed", ["CMD-001", "LOCK-001"], id="by-verdict"),
        pytest.param("verdict", "not applicable", ["SEED-001"], id="by-a-verdict-of-two-words"),
    ],
)
def test_requirements_are_found(opened: WebDriver, control: str, value: str, expected: list[str]) -> None:
    choose(opened, control, value)

    assert shown(opened) == expected
    assert opened.find_element("id", "shown").text == f"{len(expected)} of 5"


def test_evidence_and_picture_are_seen_when_a_requirement_is_opened(opened: WebDriver) -> None:
    opened.find_element("css selector", "#LOCK-003 summary").click()

    evidence = opened.find_element("css selector", "#LOCK-003 pre")
    assert evidence.is_displayed()
    assert evidence.text == "seen: three\nlines of\nevidence"
    image = "document.querySelector('#LOCK-003 img')"
    assert opened.execute_script(f"return [{image}.complete, {image}.naturalWidth]") == [True, 40]


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 24, 28)")])
def test_it_is_light_or_dark_as_the_reader_has_it(opened: WebDriver, scheme: str, background: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    command: Any = opened.execute_cdp_cmd
    command("Emulation.setEmulatedMedia", {"features": [feature]})

    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") == background


def test_no_host_is_asked_and_nothing_is_refused(opened: WebDriver) -> None:
    log: Any = opened.get_log
    log("performance")  # what the browser did before there was a page
    opened.refresh()

    events = [json.loads(entry["message"])["message"] for entry in log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert [entry["message"] for entry in log("browser")] == []
