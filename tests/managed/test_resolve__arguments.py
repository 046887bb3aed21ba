"""The arguments of an operator as the description of an environment: database drivers for dbt 2."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import Library
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.managed.resolve import VirtualenvArguments


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    file = tmp_path / "libduckdb.so"
    file.write_bytes(b"driver")
    return file


def arguments(*drivers: object) -> VirtualenvArguments:
    return VirtualenvArguments.of({"py_requirements": ["dbt-core"], "adbc_drivers": list(drivers)})


def test_a_driver_is_a_path_a_folder_or_a_distribution(driver: Path) -> None:
    (driver.parent / "notes.txt").touch()
    digest = hashlib.sha256(b"driver").hexdigest()
    found = Library(source=str(driver), digest=digest)

    assert arguments(driver).spec().libraries == (found,)
    assert arguments(str(driver.parent) + "/").spec().libraries == (found,)
    spec = arguments("adbc-driver-postgresql~=1.7").spec()
    assert spec.libraries == (Library(source="adbc-driver-postgresql"),)
    assert spec.requirements == ("dbt-core", "adbc-driver-postgresql~=1.7")


def test_the_setting_counts_where_the_operator_says_nothing(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_ADBC_DRIVERS", f"{driver} adbc-driver-snowflake>=1,<2")
    silent = VirtualenvArguments.of({"py_requirements": ["dbt-core"]})

    assert [each.source for each in silent.spec().libraries] == [str(driver), "adbc-driver-snowflake"]
    assert arguments().spec().libraries == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param("/nowhere/libduckdb.so", r"adbc_drivers: /nowhere/libduckdb\.so cannot be read", id="no file"),
        pytest.param("a b c", "adbc_drivers: 'a b c' is not a requirement", id="no requirement"),
        pytest.param("git+https://host.test/driver", "driver' is not a requirement", id="a URL without a name"),
    ],
)
def test_what_is_no_driver_is_refused(given: str, message: str) -> None:
    with pytest.raises(CosmosValueError, match=message):
        arguments(given).spec()


def test_a_folder_without_a_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match="is a folder without a shared library"):
        arguments(f"{tmp_path}/").spec()
