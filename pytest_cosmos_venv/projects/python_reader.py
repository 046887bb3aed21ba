"""What does a Python model say about itself? Its calls of ``dbt.ref``, ``dbt.source`` and ``dbt.config``."""

from __future__ import annotations

import ast

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.references import Reading


def read_python_model(text: str, *, where: str) -> Reading:
    """What the model says, as far as the arguments are literal values; dbt itself reads no others.

    :param where: the file, for errors.
    :raises ToolkitMisuse: the text is no Python, or an argument is computed.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ToolkitMisuse(f"{where} is no Python: {error.msg} (line {error.lineno}).") from None
    reading = Reading()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        _read_call(call, reading, where)
    return reading


def _read_call(call: ast.Call, reading: Reading, where: str) -> None:
    name = _function_of_dbt(call.func)
    if name is None:
        return
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        reading.call(name)(*arguments, **keywords)
    except ValueError:
        raise ToolkitMisuse(
            f"{where}, line {call.lineno}: dbt.{name}() has an argument that is no literal value, or one too many. "
            "dbt reads such calls without running the model."
        ) from None


def _function_of_dbt(function: ast.expr) -> str | None:
    """``ref`` of ``dbt.ref``."""
    is_of_dbt = (
        isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "dbt"
    )
    if is_of_dbt and isinstance(function, ast.Attribute) and function.attr in ("ref", "source", "config"):
        return function.attr
    return None
