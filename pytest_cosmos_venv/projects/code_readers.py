"""Readers of dbt's SQL files and Python models: references, configuration and macros.

SQL is read as dbt reads it while parsing: the text is rendered once with ``execute`` false, and ``ref``, ``source``,
``config`` and the project's macros write down how they are called. All other names in the text stand for nothing. In
Python the calls of ``dbt.ref``, ``dbt.source`` and ``dbt.config`` are read without running the model.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.references import Reading

if TYPE_CHECKING:
    from jinja2 import Environment

# A template engine takes a millisecond for a file; large projects consist of these two calls.
_PLAIN_CALL = re.compile(
    r"\{\{\s*(?:ref\(\s*'(?P<ref>\w+)'\s*\)|source\(\s*'(?P<source>\w+)'\s*,\s*'(?P<table>\w+)'\s*\))\s*\}\}"
)
_JINJA = re.compile(r"\{[{%#]")
_BLOCK = re.compile(r"\{%-?\s*(?P<kind>macro|test|data_test)\s+(?P<name>\w+).*?\{%-?\s*end(?P=kind)\s*-?%\}", re.DOTALL)
_GENERIC_TEST = (
    (re.compile(r"\{%(-?)\s*(?:test|data_test)\s+(\w+)"), r"{%\1 macro test_\2"),
    (re.compile(r"\{%(-?)\s*end(?:data_)?test\s*(-?)%\}"), r"{%\1 endmacro \2%}"),
)


def read_python_model(text: str, *, where: str) -> Reading:
    """Return what the model says, as far as the arguments are literal values; dbt itself reads no others.

    :param text: the content of the file.
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
        name = _function_of_dbt(call.func)
        if name is None:
            continue
        try:
            arguments = [ast.literal_eval(argument) for argument in call.args]
            keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            reading.call(name)(*arguments, **keywords)
        except ValueError:
            raise ToolkitMisuse(
                f"{where}, line {call.lineno}: dbt.{name}() has an argument that is no literal value, or one too many. "
                "dbt reads such calls without running the model."
            ) from None
    return reading


def _function_of_dbt(function: ast.expr) -> str | None:
    """``ref`` of ``dbt.ref``."""
    is_of_dbt = (
        isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "dbt"
    )
    if is_of_dbt and isinstance(function, ast.Attribute) and function.attr in ("ref", "source", "config"):
        return function.attr
    return None


@dataclass(frozen=True, kw_only=True)
class MacroFile:
    """A file of macros and generic tests.

    :param package: the package to which it belongs; others call its macros ``package.macro()``.
    :param text: the content of the file.
    :param where: its path, for errors.
    """

    package: str
    text: str
    where: str


@dataclass(kw_only=True)
class SqlReader:
    """The reader of the SQL files of one package.

    :param package: the package whose macros need no prefix.
    :param variables: the values of ``var()``.
    :param target: the values of ``target.name`` and its like.
    :param macro_files: the files of macros of all packages.
    """

    package: str
    variables: Mapping[str, Any]
    target: Mapping[str, Any]
    macro_files: tuple[MacroFile, ...] = ()
    _reading: Reading = field(default_factory=Reading)
    _depth: int = 0

    def read(self, text: str, *, where: str) -> Reading:
        """Return what a text says.

        :param text: the content of the file.
        :param where: the file, for errors.
        :raises ToolkitMisuse: it is no valid template, or calls one of dbt's functions wrongly.
        """
        plain = _plain_reading(text)
        if plain is not None:
            return plain
        self._reading = Reading()
        with _misuse(where):
            _environment().from_string(text).render(self._context)
        return self._reading

    @cached_property
    def _context(self) -> dict[str, Any]:
        """Macros see what the text sees, so they are given the same mapping."""
        context: dict[str, Any] = {
            "ref": self._noted("ref"),
            "source": self._noted("source"),
            "config": self._noted("config"),
            "var": self._variable,
            "env_var": _environment_variable,
            "target": self.target,
            "execute": False,
            "dbt": _MacrosOfDbt(self._macro),
            "is_incremental": self._macro("macro.dbt.is_incremental", lambda: False),
        }
        for file in self.macro_files:
            with _misuse(file.where):
                own = dict(self._macros(file, context))
            context.setdefault(file.package, {}).update(own)
            if file.package == self.package:
                context.update(own)
        return context

    def _noted(self, name: str) -> Callable[..., str]:
        def call(*arguments: Any, **keywords: Any) -> str:
            self._reading.call(name)(*arguments, **keywords)
            return ""

        return call

    def _macros(self, file: MacroFile, context: dict[str, Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
        module = _environment().from_string(_as_macros(file.text), globals=context).make_module()
        for name in macro_names(file.text):
            yield name, self._macro(f"macro.{file.package}.{name}", getattr(module, name))

    def _macro(self, unique_id: str, macro: Callable[..., Any]) -> Callable[..., Any]:
        """A macro that is noted where the text calls it, and not, as in dbt, where another macro does."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            if self._depth == 0:
                self._reading.add_macro(unique_id)
            self._depth += 1
            try:
                return macro(*arguments, **keywords)
            finally:
                self._depth -= 1

        return call

    def _variable(self, name: str, default: Any = None) -> Any:
        if name not in self.variables and default is None:
            raise ValueError(
                f"var('{name}') has no value: give the project variables={{'{name}': …}}, or var() a default"
            )
        return self.variables.get(name, default)


@dataclass(frozen=True)
class _MacrosOfDbt:
    """``dbt.current_timestamp()`` and the others that dbt brings along: they are noted and write nothing."""

    make: Callable[[str, Callable[..., Any]], Callable[..., Any]]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self.make(f"macro.dbt.{name}", lambda *_, **__: "")


def macro_names(text: str) -> list[str]:
    """Return the names of the macros that a file defines; a generic test is one that is called ``test_…``.

    :param text: the content of the file.
    """
    return [name for name, _ in macro_blocks(text)]


def macro_blocks(text: str) -> list[tuple[str, str]]:
    """Return the name of each macro that a file defines, with its part of the text.

    :param text: the content of the file.
    """
    return [(f"{'test_' * (block['kind'] != 'macro')}{block['name']}", block[0]) for block in _BLOCK.finditer(text)]


def _plain_reading(text: str) -> Reading | None:
    """Return what a text with no other Jinja than plain calls says; None where it takes more to know."""
    calls = list(_PLAIN_CALL.finditer(text))
    if len(_JINJA.findall(text)) != len(calls):
        return None
    reading = Reading()
    for call in calls:
        if call["ref"]:
            reading.add_ref(call["ref"])
        else:
            reading.add_source(call["source"], call["table"])
    return reading


def _environment_variable(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise ValueError(f"env_var('{name}') has no value: set the variable, or give env_var() a default")
    return value


def _as_macros(text: str) -> str:
    """Generic tests as the macros that dbt makes of them."""
    for pattern, replacement in _GENERIC_TEST:
        text = pattern.sub(replacement, text)
    return text


@cache
def _environment() -> Environment:
    from jinja2 import ChainableUndefined, Environment

    class Quiet(ChainableUndefined):
        """A name that only dbt knows (``adapter``, ``dbt_utils.star()``): called or not, it gives nothing."""

        def __call__(self, *_: Any, **__: Any) -> Any:
            return self

    # What it renders is SQL, not HTML.
    return Environment(undefined=Quiet, extensions=["jinja2.ext.do"])  # noqa: S701


@contextmanager
def _misuse(where: str) -> Iterator[None]:
    from jinja2 import TemplateError

    try:
        yield
    except (TemplateError, TypeError, ValueError) as error:
        raise ToolkitMisuse(f"{where} cannot be read as dbt's SQL: {error}.") from None
