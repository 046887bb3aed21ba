"""A native dbt is told from a Python script, and a database driver beside it is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.dbt.native.program import dbt_2_command_line, has_driver, is_native


@pytest.mark.parametrize(
    ("content", "recorded", "expected"),
    [
        pytest.param(Path("/bin/true").read_bytes()[:64], "native", True, id="a program of this machine"),
        pytest.param(b"\xcf\xfa\xed\xfe\x0c", "", True, id="a program for macOS, without a record"),
        pytest.param(b"#!/bin/sh\nexec /opt/dbt/bin/dbt $@\n", "", False, id="a wrapper, which may start dbt 1"),
        pytest.param(b"#!/bin/sh\n", "native", True, id="a wrapper around dbt 2, which the record knows"),
        pytest.param(b"#!/venv/bin/python3.11\nimport dbt\n", "python", False, id="a Python script"),
        pytest.param(None, "", False, id="no dbt"),
    ],
)
def test_a_native_dbt_is_told_by_its_file_or_the_record(
    tmp_path: Path, content: bytes | None, recorded: str, expected: bool
) -> None:
    file = tmp_path / "dbt"
    if content is not None:
        file.write_bytes(content)

    assert is_native(file, recorded=recorded) is expected


@pytest.mark.parametrize(("file", "expected"), [("libduckdb.so", True), ("libduckdb.dylib", True), ("duckdb", False)])
def test_a_driver_in_the_environment_is_seen(tmp_path: Path, file: str, expected: bool) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / file).touch()

    assert has_driver(tmp_path) is expected


def test_docs_are_generated_by_the_command_that_dbt_2_has() -> None:
    words = ["/bin/dbt", "--quiet", "docs", "generate", "--select", "docs"]

    assert dbt_2_command_line(words) == ["/bin/dbt", "--quiet", "compile", "--write-catalog", "--select", "docs"]
