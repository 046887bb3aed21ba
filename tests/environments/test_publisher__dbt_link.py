"""``bin/dbt`` in the directory itself, for people at a terminal, and never in anybody's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.publisher import link_dbt
from cosmos_venv.environments.store import EnvironmentStore


@pytest.fixture
def builds(tmp_path: Path) -> list[Path]:
    """Two builds with a dbt."""
    folders = [tmp_path / "envs-v2" / name for name in ("one", "two")]
    for folder in folders:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "dbt").touch()
    return folders


def test_it_leads_to_the_environment_that_was_published_last(tmp_path: Path, builds: list[Path]) -> None:
    for build in builds:
        link_dbt(EnvironmentStore(tmp_path), build, print)

        assert (tmp_path / "bin" / "dbt").resolve() == (build / "bin" / "dbt").resolve()


@pytest.mark.parametrize("theirs", ["bin/dbt", "pyvenv.cfg"])
def test_what_belongs_to_somebody_else_stays(tmp_path: Path, builds: list[Path], theirs: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / theirs).write_text("theirs")

    link_dbt(EnvironmentStore(tmp_path), builds[0], print)

    assert not (tmp_path / "bin" / "dbt").is_symlink()
    assert (tmp_path / theirs).read_text() == "theirs"
