"""The site, built as ``make docs`` builds it, and a browser that reads it from the disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.installed import ENVIRONMENTS, ROOT, is_missing

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

ENVIRONMENT = ENVIRONMENTS / "docs"
PYTHON = ENVIRONMENT / "bin" / "python"
AXE = ENVIRONMENT / "share" / "scripts" / "axe.min.js"
needs_sphinx = pytest.mark.skipif(
    sys.version_info < (3, 11) or is_missing(PYTHON),
    reason="no Sphinx at .cache/envs/docs: make test makes it (Python 3.11 and later)",
)
(MAKE_DOCS,) = re.findall(
    r"^SPHINX = .* -m sphinx (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
)
OPTIONS = ("--no-color", *MAKE_DOCS.split())
"""Those of `make docs`, so that what is tested is what it builds."""
PHONE = (360, 740)
SCHEMES = ("light", "dark")


def build(into: Path, *, before: str = "", pages: Path = ROOT / "docs") -> subprocess.CompletedProcess[str]:
    """Build the site.

    :param into: its folder.
    :param before: Python that runs first, in the process of Sphinx.
    :param pages: the folder of the pages.
    """
    words = [*OPTIONS, "-d", str(into.with_name(f"{into.name}-doctrees")), "-b", "html", str(pages), str(into)]
    first = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{before}"
    code = f"{first}\nfrom sphinx.cmd.build import main\nsys.exit(main({words!r}))"
    return subprocess.run([str(PYTHON), "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def show_as(browser: WebDriver, scheme: str, size: tuple[int, int] = (1200, 900)) -> None:
    """Let the browser say to pages which colours its user wants, and how large it is."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def axe_findings(browser: WebDriver) -> list[str]:
    """Return what axe finds on the page that is shown and calls serious or critical."""
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run({resultTypes: ['violations']}).then(result => done(result.violations))"
    )
    return [
        f"{each['impact']}: {each['id']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def requested_schemes(browser: WebDriver) -> set[str]:
    """Return the schemes of the URLs that the browser has asked for since this was called last."""
    log = browser.get_log("performance")  # type: ignore[no-untyped-call]
    messages = [json.loads(entry["message"])["message"] for entry in log]
    return {
        message["params"]["request"]["url"].partition(":")[0]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
