"""The arguments of an operator as the description of an environment: database drivers for dbt 2."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import Library
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.managed.arguments import VirtualenvArguments


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
        pytest.param("a b c", "adbc_drivers: 'a b c' is neither a path nor a requirement", id="no requirement"),
        pytest.param("git+https://host.test/driver", "is neither a path nor a requirement", id="a URL without a name"),
    ],
)
def test_what_is_no_driver_is_refused(given: str, message: str) -> None:
    with pytest.raises(CosmosValueError, match=message):
        arguments(given).spec()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("/opt/libduckdb.so,/opt/libharbor.so", id="two-paths"),
        pytest.param("adbc-driver-snowflake, adbc-driver-postgresql", id="two-names"),
    ],
)
def test_a_comma_between_drivers_of_the_setting_is_refused_with_what_stands_there_instead(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_ADBC_DRIVERS", given)
    silent = VirtualenvArguments.of({"py_requirements": ["dbt-core"]})

    with pytest.raises(
        CosmosValueError, match=r"Blanks, not commas, separate the entries of .*virtualenv_adbc_drivers"
    ):
        silent.spec()


def test_two_drivers_of_one_name_are_refused(driver: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / driver.name).write_bytes(b"another driver")

    with pytest.raises(CosmosValueError, match=r"several drivers are called libduckdb\.so"):
        arguments(driver, tmp_path / "more" / driver.name).spec()


def test_a_folder_without_a_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match="is a folder without a shared library"):
        arguments(f"{tmp_path}/").spec()


def test_the_words_of_a_command_are_those_of_its_arguments() -> None:
    told = VirtualenvArguments(
        py_requirements=("dbt-core~=1.11.0", "-r /dbt/requirements.txt"),
        pip_install_options=("--upgrade", "--index-url=https://ana:secret@pypi.example/simple"),
        py_system_site_packages=True,
        py_executable="python3.12",
        adbc_drivers=("/drivers/libduckdb.so",),
    )

    assert told.for_command_line(Path("/envs")) == [
        "--requirement=dbt-core~=1.11.0",
        "--requirement=-r /dbt/requirements.txt",
        "--pip-option=--upgrade",
        "--pip-option=--index-url=https://****@pypi.example/simple",
        "--adbc-driver=/drivers/libduckdb.so",
        "--python=python3.12",
        "--dir=/envs",
        "--system-site-packages",
    ]
