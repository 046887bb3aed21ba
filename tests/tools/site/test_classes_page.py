"""Classes, functions and operators in the reference have each parameter with type, default and sentence."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from enum import Enum
from typing import Any, ClassVar

import pytest

import cosmos_venv
from cosmos_venv.operators import local, virtualenv
from cosmos_venv.operators.base import REQUIRED
from tools.site.classes_page import CLASSES, classes_text, functions_text, operators_text
from tools.site.undocumented import Undocumented


class Rig(Enum):
    SLOOP = "sloop"


@dataclass
class Ship:
    """A ship.

    It sails.

    :param name: its name, as in
        :class:`Pier`.
    :param draught, beam: in ``metres``.
    :param rig: its rig.
    :param crew: names.
    :raises ValueError: it sinks.
    """

    name: str
    draught: float = 2.5
    beam: InitVar[float | None] = None
    rig: Rig = Rig.SLOOP
    crew: list[str] = field(default_factory=list)


def test_a_class_is_told_with_type_default_and_sentence_of_each_parameter() -> None:
    told = [line for line in classes_text([Ship]).splitlines() if line]

    assert told == [
        "## `Ship`",
        "A ship.",
        "It sails.",
        "```python",
        "from cosmos_venv import Ship",
        "```",
        "`name`",
        ": its name, as in `Pier`.",
        "  `str`, required",
        "`draught`",
        ": in `metres`.",
        "  `float`, default `2.5`",
        "`beam`",
        ": in `metres`.",
        "  `float | None`, default `None`",
        "`rig`",
        ": its rig.",
        "  `Rig`, default `Rig.SLOOP`",
        "`crew`",
        ": names.",
        "  `list[str]`, default: see the text",
        "Raises `ValueError`: it sinks.",
    ]


def test_each_parameter_of_the_configurations_is_told() -> None:
    text = classes_text()

    for name in CLASSES:
        section = text.partition(f"## `{name}`")[2].partition("\n## ")[0]
        for parameter in inspect.signature(getattr(cosmos_venv, name)).parameters:
            assert f"{parameter}`\n: " in section, (name, parameter)


def test_each_enum_of_the_package_is_told_with_its_members() -> None:
    assert "## `LoadMode`" in classes_text()
    assert "- `DBT_LS`: `'dbt_ls'`" in classes_text()


def test_each_operator_is_told_with_what_is_its_own() -> None:
    text = operators_text()

    for name in (*local.__all__, *virtualenv.__all__):
        if name.endswith(("Operator", "Sensor")):
            assert f"## `{name}`\n" in text
    section = text.partition("## `DbtRunOperationLocalOperator`")[2].partition("\n## ")[0]
    assert "`macro_name`\n: the macro of the project.\n\n  `str`, required" in section


def test_functions_are_told_with_the_module_that_offers_them() -> None:
    text = functions_text()

    assert "from cosmos_venv.io import upload_to_aws_s3" in text
    assert "from cosmos_venv.profiles import get_automatic_profile_mapping" in text


def test_a_parameter_without_a_sentence_is_refused() -> None:
    class Boat:
        """A boat.

        :param name: its name.
        """

        def __init__(self, name: str, oars: int) -> None: ...

    with pytest.raises(Undocumented, match=r"^the parameter oars of Boat has no sentence$"):
        classes_text([Boat])


def test_a_function_without_a_docstring_is_refused() -> None:
    def row() -> None: ...

    with pytest.raises(Undocumented, match=r"^row has no docstring$"):
        functions_text([row])


def test_a_parameter_of_one_operator_without_a_sentence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class DbtRowLocalOperator(local.DbtRunLocalOperator):
        """Rows."""

        own_parameters: ClassVar[Mapping[str, Any]] = {"oars": REQUIRED}

    monkeypatch.setattr(local, "DbtRowLocalOperator", DbtRowLocalOperator, raising=False)
    monkeypatch.setattr(local, "__all__", [*local.__all__, "DbtRowLocalOperator"])

    with pytest.raises(Undocumented, match=r"^the parameter oars of DbtRowLocalOperator has no sentence$"):
        operators_text()
