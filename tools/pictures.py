"""Pictures of the conformance suite's pages for the documents, taken in a browser without a screen.

    .venv/bin/python -m tools.pictures

Writes docs/images/conformance.png (the comparison) and docs/images/conformance-report.png (one report, in the dark), of
the newest reports that are kept in conformance/reports/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suite_run import ROOT
from conformance.reporting.html_page import page
from conformance.reporting.kept_reports import REPORT, versions
from conformance.reporting.report import read_report
from pytest_cosmos_venv.throwaway import throwaway_folder

from .browser import started
from .judge import KEPT

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

IMAGES = ROOT / "docs" / "images"
WIDTH, SCALE = 1340, 1.5


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture of a page.

    :param reports: names of implementations whose reports are kept.
    :param unfolded: id of the requirement that is read.
    :param height: in CSS pixels.
    """

    name: str
    reports: Sequence[str]
    unfolded: str
    height: int
    is_dark: bool = False


PICTURES = (
    Picture(
        name="conformance",
        reports=["cosmos-venv", "astronomer-cosmos-1.15", "astronomer-cosmos-1.14"],
        unfolded="ENV-003",
        height=1180,
    ),
    Picture(
        name="conformance-report", reports=["astronomer-cosmos-1.15"], unfolded="LOCK-002", height=1180, is_dark=True
    ),
)


def take(browser: WebDriver, picture: Picture, folder: Path) -> Path:
    """Write one picture; returns the file."""
    file = folder / f"{picture.name}.html"
    newest = versions(KEPT)[0]
    file.write_text(page([read_report(newest / name / REPORT) for name in picture.reports]), encoding="utf-8")
    scheme = "dark" if picture.is_dark else "light"
    browser.set_window_size(WIDTH, picture.height)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(file.as_uri())
    browser.execute_script("document.getElementById(arguments[0]).open = true", picture.unfolded)
    image = IMAGES / f"{picture.name}.png"
    browser.save_screenshot(str(image))
    return image


def main() -> int:
    """Take all pictures."""
    with (
        throwaway_folder("pictures-") as folder,
        started(folder / "profile", scale=SCALE) as browser,
    ):
        for picture in PICTURES:
            print(take(browser, picture, folder).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
