"""The page docs/reference/operators.md tells every parameter of the operators, and its default as it is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import BaseOperator
from cosmos_venv.operators import local, virtualenv
from cosmos_venv.operators.base import REQUIRED
from cosmos_venv.operators.local import DbtLocalBaseOperator

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "operators.md").read_text(encoding="utf-8")
OPERATORS: dict[str, Any] = {
    name: cls
    for module in (local, virtualenv)
    for name, cls in vars(module).items()
    if name.endswith(("Operator", "Sensor")) and name in module.__all__
}


def documented() -> dict[str, str]:
    """The defaults of the table of parameters, by name."""
    table = PAGE.partition("## Parameters")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| `")]
    return {name: default.strip("`") for names, default, *_ in rows for name in re.findall(r"`(\w+)`", names)}


def defaults() -> dict[str, str]:
    """The defaults that the operators themselves have."""
    airflows = set(inspect.signature(BaseOperator.__init__).parameters)
    found: dict[str, object] = {}
    for base in (DbtLocalBaseOperator, virtualenv.DbtVirtualenvBaseOperator):
        for each in inspect.signature(vars(base)["__init__"]).parameters.values():
            if each.name not in {*airflows, "kwargs"}:
                found[each.name] = each.default
    for cls in OPERATORS.values():
        found |= cls.own_parameters
    required = (inspect.Parameter.empty, REQUIRED)
    return {
        name: "required" if any(default is each for each in required) else repr(default).replace("'", '"')
        for name, default in found.items()
    }


def test_every_parameter_is_documented_with_its_default() -> None:
    assert documented() == defaults()


@pytest.mark.parametrize(
    "name", [name for name, cls in OPERATORS.items() if "Base" not in name and "Cloud" not in name]
)
def test_every_operator_is_documented_with_what_is_its_own(name: str) -> None:
    commands = PAGE.partition("## The command line")[0]
    (row,) = [row for row in commands.splitlines() if f"`{name}`" in row]

    own = set(OPERATORS[name].own_parameters)

    assert set(re.findall(r"`(\w+)`", row.split(" | ")[-1])) == own
