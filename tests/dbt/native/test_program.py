"""A native dbt is told from a Python script, and its database driver is looked for where it looks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.dbt.native.program import dbt_2_command_line, is_binary, missing_driver


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(Path("/bin/true").read_bytes()[:64], True, id="a program of this machine"),
        pytest.param(b"\xcf\xfa\xed\xfe\x0c", True, id="a program for macOS"),
        pytest.param(b"#!/bin/sh\nexec /opt/dbt/bin/dbt $@\n", False, id="a wrapper, which may start dbt 1"),
        pytest.param(b"#!/venv/bin/python3.11\nimport dbt\n", False, id="a Python script"),
        pytest.param(b"", False, id="an empty file"),
    ],
)
def test_a_program_is_told_from_a_script(tmp_path: Path, content: bytes, expected: bool) -> None:
    file = tmp_path / "dbt"
    file.write_bytes(content)

    assert is_binary(file) is expected


@pytest.fixture
def program(tmp_path: Path) -> Path:
    for folder in ("env/bin", "env/lib", "home"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path / "env" / "bin" / "dbt"


@pytest.mark.parametrize(
    ("file", "variables"),
    [
        pytest.param("env/lib/libduckdb.so", {}, id="in the environment"),
        pytest.param("env/lib/libduckdb.dylib", {}, id="in the environment, on macOS"),
        pytest.param("env/lib/duckdb.toml", {}, id="described there"),
        pytest.param("home/.config/adbc/drivers/duckdb.toml", {}, id="of the user"),
        pytest.param("drivers/duckdb.toml", {"ADBC_DRIVER_PATH": "drivers"}, id="ADBC_DRIVER_PATH"),
        pytest.param("libraries/libduckdb.so", {"LD_LIBRARY_PATH": "libraries"}, id="LD_LIBRARY_PATH"),
    ],
)
def test_a_driver_is_found_where_dbt_finds_it(
    program: Path, tmp_path: Path, file: str, variables: Mapping[str, str]
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    given = {name: f"/nowhere{os.pathsep}{tmp_path / folder}" for name, folder in variables.items()}

    assert missing_driver(program, "duckdb", {"HOME": str(tmp_path / "home"), **given}) is None


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_driver_of_the_machine_is_found_on_each_architecture(
    program: Path, tmp_path: Path, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = f"/usr/lib/{machine}-linux-gnu/libduckdb.so"
    monkeypatch.setattr(Path, "is_file", lambda path: str(path) == installed)

    assert missing_driver(program, "duckdb", {"HOME": str(tmp_path / "home")}) is None


def test_a_driver_for_another_database_is_looked_for_only_where_that_is_switched_on(
    program: Path, tmp_path: Path
) -> None:
    (program.parent.parent / "lib" / "libadbc_driver_postgresql.so").touch()
    environment = {"HOME": str(tmp_path / "home")}
    switched_on = {**environment, "DBT_LOAD_STANDARD_POSTGRESQL_DRIVER": "1"}

    assert missing_driver(program, "postgres", switched_on) is None
    assert missing_driver(program, "postgres", environment) == (
        f"it finds no driver for postgres in {program.parent.parent / 'lib'}, and downloads one where it has not before"
    )


def test_docs_are_generated_by_the_command_that_dbt_2_has() -> None:
    words = ["/bin/dbt", "--quiet", "docs", "generate", "--select", "docs"]

    assert dbt_2_command_line(words) == ["/bin/dbt", "--quiet", "compile", "--write-catalog", "--select", "docs"]
