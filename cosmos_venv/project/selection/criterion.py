"""One item of a selection, read as dbt reads it: a method, its value, and how far it reaches along the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cosmos_venv.constants import TestIndirectSelection
from cosmos_venv.exceptions import CosmosValueError

# dbt's pattern for the three parts of an item. Anything else belongs to the value: "++x" asks for a node called "+x".
_ITEM = re.compile(
    r"(?P<childrens_parents>@)?"
    r"(?:(?P<parents>(?P<parents_depth>\d*)\+))?"
    r"(?:(?P<method>[\w.]+):)?(?P<value>.*?)"
    r"(?P<children>\+(?P<children_depth>\d*))?"
)
_SUFFIXES_OF_FILES = (".sql", ".py", ".csv")


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One item of a selection.

    :param method: dbt's name of it, such as ``tag``.
    :param arguments: the words after the method, parted by dots: ``meta`` and ``owner`` of ``config.meta.owner``.
    :param value: text; in YAML it may be a number or a bool too.
    :param parents: how many steps to go up; None: all ancestors. 0: none.
    :param children: how many steps to go down; None: all descendants. 0: none.
    :param childrens_parents: whether all descendants and all their ancestors come along (``@``).
    :param indirect_selection: which tests come with their parents.
    :param shown: the item as it was written, for errors.
    """

    method: str
    value: Any
    arguments: tuple[str, ...] = ()
    parents: int | None = 0
    children: int | None = 0
    childrens_parents: bool = False
    indirect_selection: TestIndirectSelection = TestIndirectSelection.EAGER
    shown: str = field(default="", compare=False)

    @classmethod
    def from_text(cls, text: str) -> Criterion:
        """The criterion of an item without blanks and commas: ``@tag:nightly``, ``2+fct_orders``.

        :param text: the item.
        :raises CosmosValueError: when dbt would refuse it, naming the item.
        """
        found = _ITEM.fullmatch(text)
        if found is None:
            raise CosmosValueError(f"selection item {text!r} has a line break in it: write each item as one word.")
        parts = found.groupdict()
        if parts["childrens_parents"] and parts["children"]:
            raise CosmosValueError(
                f"selection item {text!r} has an @ before and a + behind: dbt takes one of them. "
                "The @ selects all children already."
            )
        method, arguments = _method(parts["method"], parts["value"])
        return cls(
            method=method,
            arguments=arguments,
            value=parts["value"],
            parents=_steps(parts["parents"], parts["parents_depth"]),
            children=_steps(parts["children"], parts["children_depth"]),
            childrens_parents=bool(parts["childrens_parents"]),
            shown=repr(text),
        )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Criterion:
        """The criterion of an item of a YAML selector: ``method``, ``value`` and the other keys that dbt knows.

        :param mapping: the item.
        :raises CosmosValueError: when dbt would refuse it, naming the mapping.
        """
        shown = str(dict(mapping))
        if mapping.get("childrens_parents") and mapping.get("children"):
            raise CosmosValueError(f"selector item {shown} has childrens_parents and children: dbt takes one of them.")
        method, arguments = _method(str(mapping["method"]), mapping["value"])
        given = mapping.get("indirect_selection", TestIndirectSelection.EAGER)
        try:
            chosen = TestIndirectSelection(given)
        except ValueError:
            modes = ", ".join(mode.value for mode in TestIndirectSelection)
            raise CosmosValueError(
                f"selector item {shown}: indirect_selection is {given!r}, not one of {modes}."
            ) from None
        return cls(
            method=method,
            arguments=arguments,
            value=mapping["value"],
            parents=_yaml_steps(mapping, "parents"),
            children=_yaml_steps(mapping, "children"),
            childrens_parents=bool(mapping.get("childrens_parents")),
            indirect_selection=chosen,
            shown=shown,
        )


def _method(given: str | None, value: str) -> tuple[str, tuple[str, ...]]:
    if given is None:
        if "/" in value:
            return "path", ()
        return ("file" if value.lower().endswith(_SUFFIXES_OF_FILES) else "fqn"), ()
    method, *arguments = given.split(".")
    return method, tuple(arguments)


def _steps(operator: str | None, depth: str | None) -> int | None:
    if operator is None:
        return 0
    return int(depth) if depth else None


def _yaml_steps(mapping: Mapping[str, Any], direction: str) -> int | None:
    """The steps. As in dbt, any true value counts as yes, and a depth of 0 means no limit."""
    depth = mapping.get(f"{direction}_depth")
    try:
        steps = int(depth) if depth else None
    except (TypeError, ValueError):
        raise CosmosValueError(f"selector item {dict(mapping)}: {direction}_depth is {depth!r}, no number.") from None
    return steps if mapping.get(direction) else 0
