"""The calls of ``ref``, ``source`` and ``config`` in the code of a node, in SQL and in Python: what it reads and
configures.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes

from cosmos_venv.dbt.jinja_values import JINJA, VALUE_ERRORS, Unknown, value_of
from cosmos_venv.exceptions import CosmosLoadDbtException

_DECIDING = ("enabled", "materialized", "tags")  # of tasks: a line in the log where only dbt knows them
_SNAPSHOT = re.compile(r"{%-?\s*(?:snapshot\s+(?P<name>\w+)|endsnapshot)\s*-?%}")


@dataclass(frozen=True, kw_only=True)
class Ref:
    """The node that a call of ``ref()`` names.

    :param name: of the model, seed or snapshot.
    :param package: of the package that it is looked for in; None: in all of them.
    :param version: of the model; None: the latest one.
    """

    name: str
    package: str | None = None
    version: str | None = None


@dataclass(kw_only=True)
class Code:
    """The references and the configuration in the code of one node.

    :ivar refs: what its calls of ``ref()`` name.
    :ivar sources: what its calls of ``source()`` name: source and table.
    :ivar config: what its calls of ``config()`` set.
    :ivar unknown: calls that name something only a running dbt knows, in words for the log.
    """

    refs: list[Ref] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def called(self, function: str, arguments: list[Any], options: Mapping[str, Any]) -> None:
        """Note one call, whose arguments are known.

        :param function: its name: ``ref``, ``source`` or ``config``.
        :param arguments: the values that are given by place.
        :param options: the values that are given by name.
        """
        if function == "config":
            given = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
            self.config.update({**given, **options})
        elif function == "source" and len(arguments) == 2:
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
    """Reads SQL and expressions of YAML.

    :param functions: what expressions may call: ``var`` and ``env_var``; each raises ``Unknown`` as it must.
    """

    functions: Mapping[str, Callable[..., Any]]

    def sql(self, path: Path, text: str) -> Code:
        """The calls in a text of SQL, or in one expression of YAML.

        :param path: the file, for errors.
        :param text: the text, with Jinja.
        :raises CosmosLoadDbtException: when it is not Jinja, or a call's arguments come to nothing, with the line.
        """
        try:
            calls = list(JINJA.parse(text).find_all(nodes.Call))
        except jinja2.TemplateSyntaxError as error:
            raise _refusal(path, error.lineno, str(error.message)) from None
        except RecursionError:
            raise _refusal(path, None, "it is nested too deeply") from None
        except ValueError as error:  # a number of so many digits that Python refuses to read them
            raise _refusal(path, None, str(error)) from None
        code = Code()
        for call in calls:
            if isinstance(call.node, nodes.Name) and call.node.name == "function":
                raise _refusal(path, call.lineno, "function() names what nobody reads without dbt, and has no task")
            if isinstance(call.node, nodes.Name) and call.node.name in ("ref", "source", "config"):
                try:
                    self._note(code, call.node.name, call)
                except VALUE_ERRORS as error:
                    reason = f"{call.node.name}(): {str(error) or type(error).__name__}"
                    raise _refusal(path, call.lineno, reason) from None
        return code

    def snapshots(self, path: Path, text: str) -> Iterator[tuple[str, Code]]:
        """The calls in each snapshot block of a file, with the name of the snapshot.

        :param path: the file, for errors.
        :param text: the content of the file.
        """
        opened: re.Match[str] | None = None
        for tag in _SNAPSHOT.finditer(text):
            if opened is None:
                opened = tag if tag["name"] else None
            elif not tag["name"]:
                yield opened["name"], self.sql(path, text[opened.end() : tag.start()])
                opened = None

    def expression(self, path: Path, text: str) -> Code:
        """The calls in an expression of YAML, which may stand there without braces: ``ref('orders')``.

        :param path: the file, for errors.
        :param text: the expression.
        """
        return self.sql(path, text if "{{" in text else f"{{{{ {text} }}}}")

    def _note(self, code: Code, function: str, call: nodes.Call) -> None:
        if function == "config":
            known = self._known_options(call)
            code.called(function, self._known([call.args[0]]) if call.args else [], known)
            unknown = [each.key for each in call.kwargs if each.key in _DECIDING and each.key not in known]
            code.unknown += [f"config({key}=…) in line {call.lineno}" for key in unknown]
            return
        try:
            arguments = [value_of(each, self.functions) for each in call.args]
            code.called(function, arguments, {each.key: value_of(each.value, self.functions) for each in call.kwargs})
        except Unknown:
            code.unknown.append(f"{function}() in line {call.lineno}")

    def _known(self, given: list[nodes.Expr]) -> list[Any]:
        try:
            return [value_of(each, self.functions) for each in given]
        except Unknown:
            return []

    def _known_options(self, call: nodes.Call) -> dict[str, Any]:
        """The options that are known; for the others dbt's own default stands."""
        return {each.key: value for each in call.kwargs for value in self._known([each.value])}


def _refusal(path: Path, line: int | None, reason: str) -> CosmosLoadDbtException:
    where = f"{path}, line {line}" if line else str(path)
    return CosmosLoadDbtException(
        f"{where}: {reason.rstrip('.')}. Correct it, or load the project by dbt ls or manifest."
    )


def python_code(path: Path, text: str) -> Code:
    """The calls of a model in Python: those that its function ``model`` makes of its first parameter.

    :param path: the file, for errors.
    :param text: the content of the file.
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
        except (ValueError, TypeError, MemoryError, RecursionError):  # TypeError: of {[]: 1}
            code.unknown.append(f"{call.func.attr}() in line {call.lineno}")
        else:
            code.called(call.func.attr, arguments, options)
