"""The runs of pytest that tests of the toolkit start: their cache, and the plugins that they go without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_cosmos_venv.shared_folders import SharedFolders


@pytest.fixture
def cache_dir(request: pytest.FixtureRequest) -> Path:
    """The cache of this run: wheels and Airflow's database are made once, and not by each inner run."""
    shared: SharedFolders = request.getfixturevalue("_cosmos_shared")
    return shared.root


@pytest.fixture(autouse=True)
def _without_plugins_of_others() -> Iterator[None]:
    """Spare runs of pytest in this environment the imports of Hypothesis and trio: half of the time that they take."""
    # Not the test's own ``monkeypatch``: asked for before fixtures of the toolkit, it would end behind them, and put
    # back variables that they have set.
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:anyio")
        yield
