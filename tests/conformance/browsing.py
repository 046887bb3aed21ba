"""A page of the suite as its reader uses it, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver


def shown(browser: WebDriver) -> list[str]:
    """Ids of the requirements that can be seen, in their order on the page."""
    rows = "[...document.querySelectorAll('details.requirement')]"
    ids: list[str] = browser.execute_script(f"return {rows}.filter(row => row.checkVisibility()).map(row => row.id)")
    return ids


def choose(browser: WebDriver, control: str, value: str) -> None:
    """Give a control a value, by its id."""
    browser.execute_script(
        "const tool = document.getElementById(arguments[0]); tool.value = arguments[1];"
        "tool.dispatchEvent(new Event('input', {bubbles: true}))",
        control,
        value,
    )
