"""A kept environment is installed once, by uv or by pip, and stays usable where it stands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.environments.kept_dbt import kept_dbt
from pytest_cosmos_venv.environments.virtualenv_dirs import PLACES_VARIABLE
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.shared_folders import SharedFolders


@pytest.fixture
def shared(cosmos_dbt: CosmosDbt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SharedFolders:
    """A cache, and installers that know wheels of fakes alone, as on a machine with an index of its own."""
    monkeypatch.delenv(PLACES_VARIABLE)
    return SharedFolders(root=tmp_path / "kept")


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.long)])
def test_dbt_is_installed_once_and_runs(
    shared: SharedFolders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installer: str
) -> None:
    if installer == "pip":
        # An index that uv cannot read: pip goes on.
        monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "nowhere"))

    first = kept_dbt(shared, ["dbt-core", "dbt-duckdb"])
    made = first.dbt.stat().st_mtime_ns
    second = kept_dbt(shared, ["dbt-duckdb", "dbt-core"])

    assert first.path == second.path
    assert second.dbt.stat().st_mtime_ns == made
    assert subprocess.run([first.dbt, "--version"], check=False).returncode == 0
    assert ("uv = " in (first.path / "pyvenv.cfg").read_text(encoding="utf-8")) is (installer == "uv")


def test_a_cache_that_was_moved_is_filled_anew(shared: SharedFolders, tmp_path: Path) -> None:
    """The scripts of an environment begin with the path of its Python."""
    kept_dbt(shared, ["dbt-core"])
    moved = SharedFolders(root=shared.root.rename(tmp_path / "moved"))
    (tmp_path / "link").symlink_to(moved.root)

    found = kept_dbt(moved, ["dbt-core"])
    linked = kept_dbt(SharedFolders(root=tmp_path / "link"), ["dbt-core"])

    assert subprocess.run([found.dbt, "--version"], check=False).returncode == 0
    assert linked == found


@pytest.mark.long
def test_what_cannot_be_installed_is_told_by_both_and_leaves_nothing(shared: SharedFolders) -> None:
    said = r"(?s)cannot be installed \(dbt-atlantis\)\.\nuv says:.*\npip says:.*set cosmos_dbt_requirements in the ini"
    with pytest.raises(ToolkitMisuse, match=said):
        kept_dbt(shared, ["dbt-atlantis"])

    assert [path.suffix for path in shared.root.iterdir()] == [".lock"]


def test_drivers_stand_in_the_environment_and_make_another_one(shared: SharedFolders, tmp_path: Path) -> None:
    driver = tmp_path / "libduckdb.so"
    driver.write_bytes(b"a library")

    plain = kept_dbt(shared, ["dbt-core"])
    driven = kept_dbt(shared, ["dbt-core"], drivers=[driver])

    assert (driven.path / "lib" / "libduckdb.so").read_bytes() == b"a library"
    assert driven.path != plain.path
    with pytest.raises(ToolkitMisuse, match="There is no driver"):
        kept_dbt(shared, ["dbt-core"], drivers=[tmp_path / "none.so"])


def test_fakes_never_become_a_kept_dbt(cosmos_dbt: CosmosDbt, tmp_path: Path) -> None:
    assert PLACES_VARIABLE in os.environ

    with pytest.raises(ToolkitMisuse, match="cosmos_dbt leads pip and uv to fake packages in this test"):
        kept_dbt(SharedFolders(root=tmp_path / "kept"), ["dbt-core"])
