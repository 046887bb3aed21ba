"""The first release of cosmos-venv beside this one, for tests of upgrades."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whole.first_release import TwoReleases, install_first_release


@pytest.fixture(scope="session")
def packages_of_the_first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder from which the first release is imported; it is installed once for all tests of a worker."""
    return install_first_release(tmp_path_factory.mktemp("first-release"))


@pytest.fixture
def two_releases(tmp_path: Path, dbt_project: Path, packages_of_the_first_release: Path) -> Iterator[TwoReleases]:
    """The first release and this one, on the same folders."""
    made = TwoReleases.on(dbt_project, tmp_path, packages_of_the_first_release)
    yield made
    made.end()
