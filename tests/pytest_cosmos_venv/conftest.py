"""The cache of the run, for the runs of pytest that tests of the toolkit start."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cosmos_venv.shared_folders import SharedFolders


@pytest.fixture
def cache_dir(request: pytest.FixtureRequest) -> Path:
    """The cache of this run: wheels and Airflow's database are made once, and not by each inner run."""
    shared: SharedFolders = request.getfixturevalue("_cosmos_shared")
    return shared.root
