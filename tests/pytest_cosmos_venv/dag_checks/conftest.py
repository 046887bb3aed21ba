"""The project that the tests of this folder check."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject


@pytest.fixture
def project(tmp_path: Path, cache_dir: Path) -> CheckedProject:
    """A project with the DAG files of cosmos-venv."""
    return CheckedProject(folder=tmp_path, cache_dir=cache_dir)
