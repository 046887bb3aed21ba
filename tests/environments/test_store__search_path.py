"""Stores that are looked at before ``virtualenv_dir`` and never written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import Environment, stores_of
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files.kernel_lock import lease_path
from tests.kit import MakeReady, MakeSpec


def find(spec: EnvironmentSpec, *directories: Path) -> Environment | None:
    found = (store.find(spec) for store in stores_of(os.pathsep.join(map(str, directories))))
    return next((environment for environment in found if environment is not None), None)


def test_the_first_store_that_has_it_wins(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> None:
    make_ready(tmp_path / "other", make_spec("hello==1.0"))
    expected = make_ready(tmp_path / "first", make_spec("hello==2.0"))
    make_ready(tmp_path / "second", make_spec("hello==2.0"))
    directories = [tmp_path / name for name in ("missing", "other", "first", "second")]

    found = find(make_spec("hello==2.0"), *directories)

    assert found is not None
    assert found.path == expected.path
    assert find(make_spec("hello"), *directories) is None
    found.close()


def test_not_even_a_lease_is_written(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> None:
    lease_path(make_ready(tmp_path, make_spec()).path).unlink()
    before = {path: path.lstat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}

    found = find(make_spec(), tmp_path)

    assert found is not None
    assert found.lease is None
    assert {path: path.lstat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"virtualenv_search_path: 'envs' is relative.*Write the whole path"):
        stores_of(f"/opt/envs{os.pathsep}envs")


def test_a_store_that_others_can_write_is_refused_by_the_name_of_the_setting(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    make_ready(tmp_path, make_spec())
    (tmp_path / "envs-v2").chmod(0o777)

    with pytest.raises(VirtualenvError, match=r"virtualenv_search_path: .*envs-v2 is not used because everybody may"):
        find(make_spec(), tmp_path)


def test_a_file_in_the_search_path_is_named(tmp_path: Path, make_spec: MakeSpec) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(
        CosmosValueError, match=r"virtualenv_search_path: .*file is not a directory.*path of a directory\.$"
    ):
        find(make_spec(), tmp_path / "file")
