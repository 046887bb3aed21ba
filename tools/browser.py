"""A browser without a screen, for tests and pictures of pages: installed where apt-get can do it, and started.

Graphviz, which draws plans in a test, is installed with the browser.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

PACKAGES = ("chromium", "chromium-driver", "fonts-dejavu-core", "graphviz")
PROGRAMS = ("chromium", "chromedriver")


def is_there() -> bool:
    return all(map(shutil.which, PROGRAMS))


@contextmanager
def started(profile: Path, *, width: int = 1200, height: int = 1000, scale: float = 1.0) -> Iterator[WebDriver]:
    """Start a Chromium that logs requests and the messages of the console.

    :param profile: folder for what it keeps.
    :param width: of its window in CSS pixels; ``height`` likewise.
    :param scale: pixels of a picture for each CSS pixel.
    :raises FileNotFoundError: there is no browser; ``is_there`` says so before.
    """
    from selenium import webdriver

    chromium, driver = map(shutil.which, PROGRAMS)
    if chromium is None or driver is None:
        raise FileNotFoundError(
            f"{' and '.join(PROGRAMS)} are not both on PATH: python -m tools.browser installs them."
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # As root, as CI often is, it does without a sandbox of its own.
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.add_argument(f"--window-size={width},{height}")
    options.add_argument(f"--force-device-scale-factor={scale}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def wait_until(has_come: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Wait for something that a page shows.

    :param has_come: whether it is there.
    :param what: the thing that is waited for, in words.
    :param seconds: to wait at most.
    :raises TimeoutError: it has not come by then.
    """
    deadline = time.monotonic() + seconds
    while not has_come():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)


def main() -> int:
    """Install a browser. Always 0: where there is none and none can be installed, the tests that need it say so."""
    if (is_there() and shutil.which("dot")) or shutil.which("apt-get") is None or os.geteuid() != 0:
        return 0
    print(f"Installing {', '.join(PACKAGES)} by apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", "-qq", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"apt-get {words[0]} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
