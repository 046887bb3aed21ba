"""The errors in the reference have the texts of the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cosmos_venv import exceptions
from tools.site.errors_page import derived, docstrings, errors_text, raised_in, returned_in
from tools.site.undocumented import Undocumented

SOURCE = """
_WAY_OUT = "Give a number."

def moor(ships, self):
    if ships:
        raise HarborError(f"ships={ships!r} of {self.name} cannot be: {', '.join(ships)}. {_WAY_OUT}") from None
    raise HarborError("short")
    raise other.PierError("The pier is closed" + " today.")
    raise HarborError(told)
    raise HarborError(closed_text(ships))

def closed_text(ships):
    return f"The pier is closed for {ships}."

def refusal(name):
    return other.PierError(f"There is no pier of the name {name}.")
"""


def test_a_text_has_names_where_values_will_be() -> None:
    tree = ast.parse(SOURCE)

    assert list(raised_in(tree, returned_in(tree))) == [
        ("HarborError", "ships=<ships> of <name> cannot be: …. Give a number."),
        ("PierError", "The pier is closed today."),
        ("HarborError", "The pier is closed for <ships>."),
        ("PierError", "There is no pier of the name <name>."),
    ]


def test_an_exception_is_told_with_its_texts(tmp_path: Path) -> None:
    file = tmp_path / "harbor.py"
    file.write_text(SOURCE)

    assert errors_text([file], {"PierError": "A pier.\n\n:param x: y."}).splitlines() == [
        "## `PierError`",
        "",
        "A pier.",
        "",
        "- ` The pier is closed today. `",
        "- ` There is no pier of the name <name>. `",
    ]


def test_the_exceptions_are_those_that_users_meet_by_name() -> None:
    assert {"CosmosValueError", "VirtualenvError", "NotWarm"} <= set(docstrings())
    assert all(hasattr(exceptions, name) for name in docstrings())


def test_exceptions_of_other_files_that_derive_from_these_are_told() -> None:
    source = """
class Sunk(VirtualenvError):
    "It is under water."

class _Own(VirtualenvError): ...

class Other(str): ...
"""

    assert derived([ast.parse(source)]) == {"Sunk": "It is under water."}


def test_hundreds_of_texts_of_the_code_are_told() -> None:
    text = errors_text()

    assert text.count("\n- `") > 300
    assert "RenderConfig.dbt_ls_path=… is a URL." in text
    assert "## `CosmosVirtualenvLockTimeout`" in text
    assert "is still held by" in text  # a helper's text


def test_an_exception_without_a_docstring_is_refused() -> None:
    with pytest.raises(Undocumented, match=r"^the exception PierError has no docstring$"):
        errors_text([], {"PierError": ""})
