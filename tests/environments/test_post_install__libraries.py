"""Shared libraries that a spec names stand in the ``lib/`` of the environment."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.pruner import read_inventory
from cosmos_venv.environments.maintenance.verification import verify
from cosmos_venv.environments.spec import Library
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBuildError
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from tests.kit import MakeReady, MakeSpec, SetUmask


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    file = tmp_path / "drivers" / "libduckdb.so"
    file.parent.mkdir()
    file.write_bytes(b"\x7fELF driver")
    return file


def library(file: Path) -> Library:
    return Library(source=str(file), digest=hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_library_is_copied_into_lib_and_recorded(
    make_spec: MakeSpec, make_ready: MakeReady, driver: Path, tmp_path: Path
) -> None:
    spec = make_spec(libraries=(library(driver),))

    environment = make_ready(tmp_path / "kept", spec)

    assert (environment.path / "lib" / "libduckdb.so").read_bytes() == driver.read_bytes()
    assert environment.record.spec.libraries == (library(driver),)
    assert not make_ready(tmp_path / "kept", spec).was_built


def test_another_content_asks_for_another_environment(make_spec: MakeSpec, driver: Path) -> None:
    before = make_spec(libraries=(library(driver),))
    driver.write_bytes(b"\x7fELF a newer one")

    assert len({make_spec().digest, before.digest, make_spec(libraries=(library(driver),)).digest}) == 3


def test_a_library_of_a_distribution_has_the_name_that_is_looked_for(
    make_spec: MakeSpec, make_ready: MakeReady, wheelhouse: Path, tmp_path: Path
) -> None:
    files = {"adbc_driver_duckdb/libadbc_driver_duckdb.so": "driver", "adbc_driver_duckdb/__init__.py": ""}
    write_wheel(Wheel(name="adbc-driver-duckdb", version="1.0", files=files), wheelhouse)
    spec = make_spec("hello", "adbc-driver-duckdb", libraries=(Library(source="ADBC_driver.duckdb"),))

    environment = make_ready(tmp_path / "kept", spec)

    assert (environment.path / "lib" / "libduckdb.so").read_text() == "driver"


def test_a_distribution_without_a_library_is_refused(
    make_spec: MakeSpec, make_ready: MakeReady, tmp_path: Path
) -> None:
    with pytest.raises(VirtualenvBuildError, match="the distribution hello has brought no shared library"):
        make_ready(tmp_path / "kept", make_spec(libraries=(Library(source="hello"),)))


def test_a_library_that_changes_during_the_build_is_not_published(
    make_spec: MakeSpec, make_ready: MakeReady, driver: Path, tmp_path: Path
) -> None:
    spec = make_spec(libraries=(library(driver),))
    driver.write_bytes(b"changed")

    with pytest.raises(VirtualenvBuildError, match=r"libduckdb.so was changed while the environment was built"):
        make_ready(tmp_path / "kept", spec)


def test_a_library_can_be_read_by_all_whatever_the_umask_of_the_worker_is(
    make_spec: MakeSpec, make_ready: MakeReady, driver: Path, tmp_path: Path, set_umask: SetUmask
) -> None:
    set_umask(0o077)

    environment = make_ready(tmp_path / "kept", make_spec(libraries=(library(driver),)))

    assert (environment.path / "lib" / "libduckdb.so").stat().st_mode & 0o777 == 0o644


def test_verify_tells_of_a_library_with_another_content(
    make_spec: MakeSpec, make_ready: MakeReady, driver: Path, tmp_path: Path
) -> None:
    environment = make_ready(tmp_path / "kept", make_spec(libraries=(library(driver),)))
    (environment.path / "lib" / "libduckdb.so").write_bytes(b"\x7fELF dreadf")

    (stored,) = read_inventory(EnvironmentStore(tmp_path / "kept"))

    assert verify(stored).faults == []
    assert verify(stored, content=True).faults == ["lib/libduckdb.so has another content than was installed"]
