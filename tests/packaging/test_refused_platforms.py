"""A platform, or an Airflow, with which nothing can work is refused in a sentence, at import."""

from __future__ import annotations

import subprocess
import sys

import pytest

ON_ANOTHER_PLATFORM = """
import sys
sys.platform = {platform!r}
sys.modules["fcntl"] = None
import cosmos_venv
"""

WITH_AN_OLD_AIRFLOW = """
import sys, types
sys.modules["airflow"] = types.ModuleType("airflow")
sys.modules["airflow"].__version__ = "2.9.3"
from cosmos_venv import DbtDag
"""


@pytest.mark.parametrize("platform", ["win32", "cygwin"])
def test_windows_is_refused_with_what_to_do(platform: str) -> None:
    last = last_words(ON_ANOTHER_PLATFORM.format(platform=platform))

    assert last.startswith("ImportError: cosmos-venv runs on Linux")
    assert f"POSIX, which {platform} has not. Run it in WSL 2 or in a container" in last


def test_an_old_airflow_is_refused_with_its_version() -> None:
    assert last_words(WITH_AN_OLD_AIRFLOW) == (
        "ImportError: cosmos-venv needs Airflow 2.10 or later; this is Airflow 2.9.3. Upgrade Airflow."
    )


def last_words(source: str) -> str:
    """The last line of a Python that fails."""
    done = subprocess.run([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]
