"""Whose environments are run: one's own and root's, and only where nobody else can have written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.pruner import read_inventory
from cosmos_venv.environments.maintenance.verification import verify
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.exceptions import VirtualenvError
from tests.kit import MakeReady, MakeSpec, SetUmask


def parts_of(directory: Path, environment: Environment) -> dict[str, Path]:
    return {"virtualenv_dir": directory, "layout": directory / "envs-v2", "build": environment.path}


@pytest.mark.parametrize("part", ["virtualenv_dir", "layout", "build"])
def test_a_store_that_everybody_may_write_to_is_not_used(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, part: str
) -> None:
    path = parts_of(tmp_path / "store", make_ready(tmp_path / "store", make_spec()))[part]
    path.chmod(0o777)

    with pytest.raises(
        VirtualenvError,
        match=rf"virtualenv_dir: {tmp_path}/store.* is not used because everybody may write to it "
        rf"\(owner {os.getuid()}, group \d+, mode 0777; .*somebody else's\. "
        rf"Give virtualenv_dir another directory; or, if you know what is in it, correct it with 'chmod o-w {path}'; ",
    ):
        EnvironmentStore(tmp_path / "store").find(make_spec())


@pytest.fixture
def open_uv_cache(
    tmp_path: Path, offline: tuple[str, ...], set_umask: SetUmask, monkeypatch: pytest.MonkeyPatch
) -> dict[Path, int]:
    """The files of a cache of uv that was filled without a umask, and their modes: uv copies a file with its mode."""
    set_umask(0)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    target = ["--quiet", "--target", str(tmp_path / "elsewhere")]
    subprocess.run(
        [Path(sys.executable).with_name("uv"), "pip", "install", *offline, *target, "hello==2.0"], check=True
    )
    return modes_below(tmp_path / "cache")


def modes_below(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mode for path in folder.rglob("*") if not path.is_symlink()}


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_nothing_of_a_store_that_is_made_without_a_umask_is_open_to_others(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, open_uv_cache: dict[Path, int], installer: str
) -> None:
    environment = make_ready(tmp_path / "store", make_spec(), preference=installer)

    open_to_others = {path for path, mode in modes_below(tmp_path / "store").items() if mode & 0o022}
    assert open_to_others == set()
    assert (environment.path / "lib").is_dir()
    assert not make_ready(tmp_path / "store", make_spec()).was_built


def test_a_store_below_a_folder_that_everybody_may_write_to_is_neither_used_nor_made(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    """It was swapped under a running task of root's, and the foreign code ran."""
    for name in ("made", "new"):
        (tmp_path / name).mkdir()
    make_ready(tmp_path / "made" / "store", make_spec())
    for name in ("made", "new"):
        (tmp_path / name).chmod(0o777)

    for name in ("made", "new"):
        with pytest.raises(VirtualenvError, match=rf"{name}/store is not used because of {tmp_path}/{name} above it"):
            make_ready(tmp_path / name / "store", make_spec())

    assert list((tmp_path / "new").iterdir()) == []


def test_a_store_that_everybody_may_write_to_is_used_where_that_is_allowed(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    path = make_ready(tmp_path / "store", make_spec()).path
    for part in (tmp_path / "store", tmp_path / "store" / "envs-v2", path):
        part.chmod(0o777)
    store = EnvironmentStore(tmp_path / "store", may_be_open=True)

    found = store.find(make_spec())
    (stored,) = read_inventory(store)

    assert found is not None
    assert found.path == path
    assert verify(stored).faults == []
