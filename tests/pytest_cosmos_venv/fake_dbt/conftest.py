"""The two that the contract tests compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.fake_venv import FakeVenv
from tests.engines import DRIVER
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Dbt, write_project
from tests.pytest_cosmos_venv.inner_run import python_of

# dbt 2 has no catalog "main" for a database in memory.
NATIVE_PROFILE = "shop: {target: dev, outputs: {dev: {type: duckdb, path: dev.duckdb, threads: 1}}}\n"


@pytest.fixture(scope="module")
def real_dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """The real dbt 1.11 with dbt-duckdb; the tests of a module share its project."""
    return Dbt(python_of("dbt111").with_name("dbt"), write_project(tmp_path_factory.mktemp("real") / "shop"))


@pytest.fixture
def fake_dbt(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> Dbt:
    """The fake one, on a project of its own with the same files."""
    return Dbt(cosmos_fake_venv.dbt, write_project(tmp_path / "shop"))


@pytest.fixture(scope="module")
def real_native_dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """The real dbt 2, a native program; the tests of a module share its project."""
    project = write_native_project(tmp_path_factory.mktemp("real-2") / "shop")
    return Dbt(python_of("dbt2").with_name("dbt"), project, DRIVER.parent)


@pytest.fixture
def fake_native_venv(cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """A fake environment with a dbt 2."""
    return cosmos_fake_venv(dbt_version="2.0.0a4")


@pytest.fixture
def fake_native_dbt(fake_native_venv: FakeVenv, tmp_path: Path) -> Dbt:
    """The fake of dbt 2, on a project of its own with the same files."""
    return Dbt(fake_native_venv.dbt, write_native_project(tmp_path / "shop"))


def write_native_project(folder: Path) -> Path:
    """The project of these tests with a profile for dbt 2."""
    write_project(folder)
    (folder / "profiles.yml").write_text(NATIVE_PROFILE, encoding="utf-8")
    return folder
