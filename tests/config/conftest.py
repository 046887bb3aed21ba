"""A project as far as the configuration looks at it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "jaffle.shop"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: jaffle\n")
    return folder
