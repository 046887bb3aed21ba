"""What does the code of a node read and configure? The calls of ref, source and config in SQL and in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.custom.values import Unknown

_DECIDING = ("enabled", "materialized", "tags")  # of tasks: a line in the log where only dbt knows them
_SNAPSHOT = re.compile(r"{%-?\s*snapshot\s+(\w+)\s*-?%}(.*?){%-?\s*endsnapshot\s*-?%}", re.DOTALL)
_ENVIRONMENT = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701 - nothing is rendered


@dataclass(frozen=True, kw_only=True)
class Ref:
    """What ``ref()`` names."""

    name: str
    package: str | None = None
    version: str | None = None


@dataclass(kw_only=True)
class Code:
    """:ivar unknown: calls that name something only a running dbt knows."""

    refs: list[Ref] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def called(self, function: str, arguments: list[Any], options: Mapping[str, Any]) -> None:
        """Note one call, whose arguments are known."""
        if function == "config":
            given = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
            self.config.update({**given, **options})
        elif function == "source" and len(arguments) == len(("source", "table")):
            self.sources.append((str(arguments[0]), str(arguments[1])))
        elif function == "ref" and arguments:
            *package, name = map(str, arguments)
            version = options.get("version", options.get("v"))
            self.refs.append(
                Ref(
                    name=name,
                    package=package[0] if package else None,
                    version=None if version is None else str(version),
                )
            )


@dataclass(frozen=True, kw_only=True)
class Reader:
    """:param functions: what expressions may call: ``var`` and ``env_var``; each raises ``Unknown`` as it must."""

    functions: Mapping[str, Callable[..., Any]]

    def sql(self, path: Path, text: str) -> Code:
        """Of a file of SQL, or of one expression in YAML.

        :raises CosmosLoadDbtException: when it is not Jinja, or a call's arguments come to nothing, with the line.
        """
        try:
            tree = _ENVIRONMENT.parse(text)
        except jinja2.TemplateSyntaxError as error:
            raise _refusal(path, error.lineno, str(error.message)) from error
        except RecursionError:
            raise _refusal(path, 1, "it is nested too deeply") from None
        code = Code()
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in ("ref", "source", "config"):
                try:
                    self._note(code, call.node.name, call)
                except (TypeError, ValueError, LookupError, ArithmeticError, MemoryError, RecursionError) as error:
                    reason = f"{call.node.name}(): {str(error) or type(error).__name__}"
                    raise _refusal(path, call.lineno, reason) from error
        return code

    def snapshots(self, path: Path, text: str) -> Iterator[tuple[str, Code]]:
        """Each snapshot block of a file, with its name."""
        for name, body in _SNAPSHOT.findall(text):
            yield name, self.sql(path, body)

    def expression(self, path: Path, text: str) -> Code:
        """Of what YAML has without braces: ``ref('orders')``."""
        return self.sql(path, text if "{{" in text else f"{{{{ {text} }}}}")

    def _note(self, code: Code, function: str, call: nodes.Call) -> None:
        if function == "config":
            known = self._known_options(call)
            code.called(function, self._known([call.args[0]]) if call.args else [], known)
            unknown = [each.key for each in call.kwargs if each.key in _DECIDING and each.key not in known]
            code.unknown += [f"config({key}=…) in line {call.lineno}" for key in unknown]
            return
        try:
            arguments = [self._value(each) for each in call.args]
            code.called(function, arguments, {each.key: self._value(each.value) for each in call.kwargs})
        except Unknown:
            code.unknown.append(f"{function}() in line {call.lineno}")

    def _known(self, given: list[nodes.Expr]) -> list[Any]:
        try:
            return [self._value(each) for each in given]
        except Unknown:
            return []

    def _known_options(self, call: nodes.Call) -> dict[str, Any]:
        """Those that can be told; of the others dbt's own default stands."""
        return {each.key: value for each in call.kwargs for value in self._known([each.value])}

    def _value(self, node: nodes.Node) -> Any:
        if isinstance(node, nodes.Concat):
            return "".join(str(self._value(each)) for each in node.nodes)
        if isinstance(node, nodes.Add):
            return self._value(node.left) + self._value(node.right)
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in self.functions:
            return self.functions[node.node.name](*(self._value(each) for each in node.args))
        if isinstance(node, nodes.Name) and node.name in ("none", "None"):
            return None
        if isinstance(node, nodes.Expr) and _is_small(node):
            try:
                return node.as_const()
            except nodes.Impossible:
                pass
        raise Unknown


def _is_small(node: nodes.Expr) -> bool:
    """Whether its value is no larger than its text promises: ``9**9**9`` and ``'a' * 10**9`` do not end."""
    if node.find(nodes.Pow):
        return False
    factors = [each for product in node.find_all(nodes.Mul) for each in product.find_all(nodes.Literal)]
    return all(isinstance(each, nodes.Const) and not isinstance(each.value, str) for each in factors)


def _refusal(path: Path, line: int, reason: str) -> CosmosLoadDbtException:
    return CosmosLoadDbtException(
        f"{path}, line {line}: {reason.rstrip('.')}. Correct it, or load the project by dbt ls or manifest."
    )


def python_code(path: Path, text: str) -> Code:
    """Of a model in Python: what its function ``model`` calls of its first parameter.

    :raises CosmosLoadDbtException: when it is not Python, with the line.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        reason = error if isinstance(error, SyntaxError | ValueError) else "it is nested too deeply"
        raise CosmosLoadDbtException(f"{path}{f', line {line}' if line else ''}: no Python: {reason}") from error
    code = Code()
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "model" and function.args.args:
            _note_calls(code, function, function.args.args[0].arg)
    return code


def _note_calls(code: Code, function: ast.FunctionDef, dbt: str) -> None:
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if not (isinstance(call.func.value, ast.Name) and call.func.value.id == dbt):
            continue
        try:
            arguments = [ast.literal_eval(each) for each in call.args]
            options = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
        except (ValueError, MemoryError, RecursionError):
            code.unknown.append(f"{call.func.attr}() in line {call.lineno}")
        else:
            code.called(call.func.attr, arguments, options)
