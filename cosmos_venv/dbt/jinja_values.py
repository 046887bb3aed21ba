"""The values of Jinja expressions, worked out instead of rendered: of texts that others have written.

What is worked out is listed here, by the type of its node in Jinja's tree: no loop, macro, method, product or format is
among it, so that no value takes longer, or becomes longer, than its text and what it looks up promise. Jinja's sandbox
promises nothing of that kind: ``{{ 'a'.center(10**10) }}``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
from jinja2 import filters, nodes

JINJA = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701 - nothing is rendered
"""Makes trees of texts."""

_FILTERS: dict[str, Callable[[Any], Any]] = {
    **{name: filters.FILTERS[name] for name in ("float", "int", "lower", "string", "trim", "upper")},
    **dict.fromkeys(("as_bool", "as_native", "as_number", "as_text"), str),  # dbt's: what YAML makes of the text
}
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda one, of: one in of,
    "lt": operator.lt,
    "lteq": operator.le,
    "ne": operator.ne,
    "notin": lambda one, of: one not in of,
}

VALUE_ERRORS = (TypeError, ValueError, LookupError, ArithmeticError, MemoryError, RecursionError)
"""What texts, numbers and lists raise that do not fit together, or are too large or too deep."""


class Unknown(Exception):
    """A value that only a running dbt knows."""


def value_of(node: nodes.Node | None, functions: Mapping[str, Callable[..., Any]]) -> Any:
    """The value of an expression.

    :param node: of Jinja's tree; None, where the tree has no node, is of no kind that is worked out.
    :param functions: what it may call, by name.
    :raises Unknown: when it is of another kind than those that are worked out, or a function says so.
    :raises Exception: one of ``VALUE_ERRORS``, or what a function raises.
    """

    def of(node: nodes.Node | None) -> Any:
        return value_of(node, functions)

    if isinstance(node, nodes.Call):
        function = functions.get(node.node.name) if isinstance(node.node, nodes.Name) else None
        if function is None or node.dyn_args or node.dyn_kwargs:
            raise Unknown
        return function(*map(of, node.args), **{each.key: of(each.value) for each in node.kwargs})
    work_out = _WORKED_OUT.get(type(node))
    if work_out is None:
        raise Unknown
    return work_out(node, of)


def _compared(node: nodes.Compare, of: Callable[[nodes.Node], Any]) -> bool:
    left = of(node.expr)
    for operand in node.ops:
        right = of(operand.expr)
        if not _COMPARED[operand.op](left, right):
            return False
        left = right
    return True


def _filtered(node: nodes.Filter, of: Callable[[nodes.Node | None], Any]) -> Any:
    if node.name not in _FILTERS or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise Unknown
    return _FILTERS[node.name](_single(of(node.node)))


def _single(value: Any) -> Any:
    """The text of a list doubles each backslash, and lists in lists would double them again and again."""
    if isinstance(value, dict | list | tuple | set):
        raise Unknown
    return value


def _item(container: Any, key: Any) -> Any:
    if isinstance(container, dict | list):
        try:
            return container[key]
        except (LookupError, TypeError):
            pass
    raise Unknown


_WORKED_OUT: dict[type[Any], Callable[[Any, Callable[[nodes.Node | None], Any]], Any]] = {
    nodes.Add: lambda node, of: of(node.left) + of(node.right),
    nodes.And: lambda node, of: of(node.left) and of(node.right),
    nodes.Compare: _compared,
    nodes.Concat: lambda node, of: "".join(str(_single(of(each))) for each in node.nodes),
    nodes.CondExpr: lambda node, of: of(node.expr1 if of(node.test) else node.expr2),
    nodes.Const: lambda node, _: node.value,
    nodes.Dict: lambda node, of: {of(pair.key): of(pair.value) for pair in node.items},
    nodes.Filter: _filtered,
    nodes.Getattr: lambda node, of: _item(of(node.node), node.attr),
    nodes.Getitem: lambda node, of: _item(of(node.node), of(node.arg)),
    nodes.List: lambda node, of: [of(each) for each in node.items],
    nodes.Neg: lambda node, of: -of(node.node),
    nodes.Not: lambda node, of: not of(node.node),
    nodes.Or: lambda node, of: of(node.left) or of(node.right),
    nodes.Output: lambda node, of: "".join(str(of(each)) for each in node.nodes),
    nodes.Template: lambda node, of: "".join(of(each) for each in node.body),
    nodes.TemplateData: lambda node, _: node.data,
    nodes.Tuple: lambda node, of: tuple(of(each) for each in node.items),
}
