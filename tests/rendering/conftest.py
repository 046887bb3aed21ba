"""The recorded project, and the Pythons of the releases of Airflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.installed import AIRFLOW_2, OLDER_AIRFLOWS_3, is_missing, needs_airflow_2
from tests.rendering.recorded import Built, build
from tests.rendering.recorded_project import RECORDED, copy_of_project

PYTHONS = [
    pytest.param(Path(sys.executable), id="airflow3"),
    pytest.param(AIRFLOW_2, id="airflow2", marks=needs_airflow_2),
    *(
        pytest.param(
            python,
            id=release,
            marks=[
                pytest.mark.skipif(
                    is_missing(python) or (release == "airflow30" and sys.version_info >= (3, 13)),
                    reason=f"no Airflow at .cache/envs/{release}: make test makes it (3.0: Python 3.10 to 3.12)",
                ),
            ],
        )
        for release, python in OLDER_AIRFLOWS_3.items()
    ),
]


@pytest.fixture(params=PYTHONS)
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of each release of Airflow."""
    found: Path = request.param
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files of the recorded project that are read when it is loaded from its manifest."""
    return copy_of_project(tmp_path / RECORDED.name)


@pytest.fixture
def built(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """What is made of a recorded case, under the environment variables that it names."""
    for name, value in case["config"].get("env", {}).items():
        monkeypatch.setenv(name, value)
    return build(case, tmp_path)
