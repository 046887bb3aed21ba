"""Commands by the names that they had in an earlier release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_venv.cli import main


@pytest.mark.parametrize(
    ("former", "name"),
    [("build", "warm"), ("inspect", "show")],
)
def test_a_former_name_works_and_is_told_with_the_release_that_removes_it(
    former: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"build": [str(tmp_path), "--dir", str(tmp_path)], "inspect": [str(tmp_path), "none"]}[former]

    codes = [main(["env", word, *words, "--json"]) for word in (former, name)]

    printed = capsys.readouterr()
    decoder = json.JSONDecoder()
    first, end = decoder.raw_decode(printed.out)
    assert codes[0] == codes[1]
    assert first == json.loads(printed.out[end:])
    assert printed.err.count("DeprecationWarning") == 1
    assert printed.err.splitlines()[0] == (
        f"DeprecationWarning: cosmos-venv env {former} is called cosmos-venv env {name} now; "
        "cosmos-venv 0.4.0 removes the former name"
    )
