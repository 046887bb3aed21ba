"""The recorded project, and the Pythons of both Airflows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.rendering.recorded_project import RECORDED, copy_of_project

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW_2 = ROOT / ".cache" / "envs" / "airflow2" / "bin" / "python"
PYTHONS = [
    pytest.param(Path(sys.executable), id="airflow3"),
    pytest.param(
        AIRFLOW_2,
        id="airflow2",
        marks=pytest.mark.skipif(
            sys.version_info >= (3, 13) or (not AIRFLOW_2.exists() and os.environ.get("CI") != "true"),
            reason="no Airflow 2.11 at .cache/envs/airflow2: make test makes it (Python 3.10 to 3.12)",
        ),
    ),
]


@pytest.fixture(params=PYTHONS)
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of each Airflow."""
    found: Path = request.param
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files of the recorded project that are read when it is loaded from its manifest."""
    return copy_of_project(tmp_path / RECORDED.name)
