"""The engine of a dbt is told from its file and the record of its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.dbt.native.engine import NATIVE, PYTHON, Engine, engine_of


@pytest.mark.parametrize(
    ("content", "recorded", "expected"),
    [
        pytest.param(b"\x7fELF\x02", "native", NATIVE, id="dbt 2"),
        pytest.param(b"\x7fELF\x02", "", NATIVE, id="dbt 2 without a record"),
        pytest.param(b"#!/bin/sh\n", "native", NATIVE, id="a script around dbt 2, which the record knows"),
        pytest.param(b"#!/bin/sh\n", "", PYTHON, id="a script, which may start any dbt"),
        pytest.param(b"#!/venv/bin/python\n", "python", PYTHON, id="dbt 1"),
        pytest.param(None, "", PYTHON, id="no dbt"),
    ],
)
def test_the_engine_is_that_of_the_record_or_of_the_file(
    tmp_path: Path, content: bytes | None, recorded: str, expected: Engine
) -> None:
    dbt = tmp_path / "dbt"
    if content is not None:
        dbt.write_bytes(content)

    assert engine_of(dbt, recorded=recorded) is expected
