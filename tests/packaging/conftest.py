"""Both distributions, built once."""

from __future__ import annotations

import pytest

from tests.packaging.distributions import PROJECTS, Distribution, build


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """cosmos-venv."""
    return build(PROJECTS["cosmos_venv"], tmp_path_factory.mktemp("cosmos_venv"))


@pytest.fixture(scope="session")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """pytest-cosmos-venv."""
    return build(PROJECTS["pytest_cosmos_venv"], tmp_path_factory.mktemp("pytest_cosmos_venv"))
