"""The page docs/reference/operators.md names every operator, with the parameters that it has alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.operators import local, virtualenv

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "operators.md").read_text(encoding="utf-8")
OPERATORS: dict[str, Any] = {
    name: cls
    for module in (local, virtualenv)
    for name, cls in vars(module).items()
    if name.endswith(("Operator", "Sensor")) and name in module.__all__
}


@pytest.mark.parametrize(
    "name", [name for name, cls in OPERATORS.items() if "Base" not in name and "Cloud" not in name]
)
def test_every_operator_is_documented_with_what_is_its_own(name: str) -> None:
    commands = PAGE.partition("## The command line")[0]
    (row,) = [row for row in commands.splitlines() if f"`{name}`" in row]

    own = set(OPERATORS[name].own_parameters)

    assert set(re.findall(r"`(\w+)`", row.split(" | ")[-1])) == own
