"""The two that the contract tests compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.fake_venv import FakeVenv
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Dbt, write_project
from tests.pytest_cosmos_venv.inner_run import python_of


@pytest.fixture(scope="module")
def real_dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """The real dbt 1.11 with dbt-duckdb; the tests of a module share its project."""
    return Dbt(python_of("dbt111").with_name("dbt"), write_project(tmp_path_factory.mktemp("real") / "shop"))


@pytest.fixture
def fake_dbt(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> Dbt:
    """The fake one, on a project of its own with the same files."""
    return Dbt(cosmos_fake_venv.dbt, write_project(tmp_path / "shop"))
