"""A browser for the tests of the suite's pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools.browser import is_there, started

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _this_checkout_is_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """This checkout is the one that processes of a test import: what is installed may be another."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    if not is_there():
        pytest.skip("no chromium and chromedriver here, and make test could not install them by apt-get")
    with started(tmp_path_factory.mktemp("browser")) as found:
        yield found
