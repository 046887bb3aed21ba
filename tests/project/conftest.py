"""The log of all that loads a project, and a project that a dbt of the tests lists."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.ls_place import Place


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log of the loaders; kept also when Airflow, imported meanwhile, sets up logging anew."""
    logger = logging.getLogger("cosmos_venv.project")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, logger=logger.name):
        yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(made.cache))
    return made
