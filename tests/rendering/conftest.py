"""The recorded project, and the Pythons of both Airflows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.installed import AIRFLOW_2, needs_airflow_2
from tests.rendering.recorded_project import RECORDED, copy_of_project

PYTHONS = [
    pytest.param(Path(sys.executable), id="airflow3"),
    pytest.param(AIRFLOW_2, id="airflow2", marks=needs_airflow_2),
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
