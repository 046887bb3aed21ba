"""The environments and wheels that ``make test`` fetches, marks for tests that need them, and the example project.

In CI nothing may be missing: a test whose environment is missing is not skipped and fails.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import browser

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".cache" / "envs"
WHEELS = ROOT / ".cache" / "wheelhouse"
DBT_111 = ENVIRONMENTS / "dbt111"
DBT = DBT_111 / "bin" / "dbt"
AIRFLOW_2 = ENVIRONMENTS / "airflow2" / "bin" / "python"
OLDER_AIRFLOWS_3 = {
    release: ENVIRONMENTS / release / "bin" / "python" for release in ("airflow30", "airflow31", "airflow32")
}
PROVIDERS = ENVIRONMENTS / "providers" / "bin" / "python"
EXAMPLE = ROOT / "examples" / "dbt" / "harbor"

IS_CI = os.environ.get("CI") == "true"


def is_missing(program: Path) -> bool:
    """Whether a test must be skipped because a program is missing. In CI no test is skipped, so that it fails."""
    return not program.exists() and not IS_CI


needs_airflow_2 = pytest.mark.skipif(
    sys.version_info >= (3, 13) or is_missing(AIRFLOW_2),
    reason="no Airflow 2.11 at .cache/envs/airflow2: make test makes it (Python 3.10 to 3.12)",
)
needs_providers = pytest.mark.skipif(
    is_missing(PROVIDERS), reason="no providers at .cache/envs/providers: make test makes them"
)
needs_dbt = pytest.mark.skipif(is_missing(DBT), reason="no real dbt at .cache/envs/dbt111: make test makes it")
needs_dbt_wheels = pytest.mark.skipif(
    not list(WHEELS.glob("dbt_core-*")) and not IS_CI,
    reason="no real dbt in .cache/wheelhouse: make test fetches it",
)


@contextmanager
def a_browser(profile: Path) -> Iterator[WebDriver]:
    """Yield a headless Chromium. Without Chromium the test is skipped; in CI it fails.

    :param profile: the folder of Chromium's profile.
    """
    if not browser.is_there() and not IS_CI:
        pytest.skip("no chromium and chromedriver here, and make test could not install them by apt-get")
    with browser.started(profile) as found:
        yield found


def install_from_wheels(patch: pytest.MonkeyPatch) -> None:
    """Let both installers take the wheels that ``make test`` has fetched, and nothing else."""
    for tool in ("PIP", "UV"):
        patch.setenv(f"{tool}_FIND_LINKS", str(WHEELS))
        patch.setenv(f"{tool}_NO_INDEX", "1")


def site_packages_of(environment: Path) -> Path | None:
    """Return the site-packages of an environment; None where its Python has another minor version than this Python."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = environment / "lib" / minor / "site-packages"
    return found if found.is_dir() else None


def environment_of(release: str) -> Path:
    """Return the environment of a release of dbt, such as ``dbt110``; skip the test where it is missing."""
    if is_missing(ENVIRONMENTS / release / "bin" / "dbt"):
        pytest.skip(f"no {release} at .cache/envs: make test makes it")
    return ENVIRONMENTS / release


def copy_of_example(folder: Path, *left_out: str) -> Path:
    """Copy the example project, without the folders ``target``, ``logs`` and ``left_out``."""
    return Path(shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("target", "logs", *left_out)))
