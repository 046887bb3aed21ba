"""The floors that docs/explanation/architecture.md shows are those that the import contracts hold."""

from __future__ import annotations

import re
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROW = re.compile(r"^\| (?P<floor>\d+) \| (?P<rooms>[^|]*)\|", re.MULTILINE)


def layers_of(package: str) -> list[str]:
    """Its rooms and modules, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [
        each
        for each in settings["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers" and each["containers"] == [package]
    ]
    return [name for layer in contract["layers"] for name in re.split(r" [|:] ", layer)]


@pytest.mark.parametrize(
    ("package", "heading"),
    [
        pytest.param("cosmos_venv", "| floor | rooms | knows |", id="product"),
        pytest.param("pytest_cosmos_venv", "| floor | rooms |\n", id="toolkit"),
    ],
)
def test_every_room_stands_on_its_floor(package: str, heading: str) -> None:
    table = (
        (ROOT / "docs" / "explanation" / "architecture.md")
        .read_text(encoding="utf-8")
        .partition(heading)[2]
        .partition("\n\n")[0]
    )
    layers = layers_of(package)

    floors = {
        name: int(row["floor"])
        for row in ROW.finditer(table)
        for name in re.findall(r"`(\w+)(?:/|\.py)`", row["rooms"])
        if name in layers
    }

    assert floors.keys() == set(layers)
    assert [floors[name] for name in layers] == sorted(floors.values(), reverse=True)


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by it, as folders of tests are no packages here."""
    names = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))

    assert [name for name, count in names.items() if count > 1] == []
