"""A project whose packages are installed without dbt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dbt.harbor import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
