"""Fixtures, marks and options of the toolkit in the reference, from the plugin."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from pytest_cosmos_venv import fixtures
from pytest_cosmos_venv.plugin import FIXTURES, pytest_addoption
from tools.site.undocumented import refuse

FILES = tuple(sorted(Path(str(fixtures.__file__)).parent.glob("*.py")))
"""The files of fixtures."""
_FIELD = re.compile(r"(?m)^:\w+[^:]*:")
_GIVEN_BY = re.compile(r"(?:Iterator|Generator)\[(.+)\]")


def fixtures_text(files: Sequence[Path] = FILES) -> str:
    """Return a section for each fixture that a test can ask for, by name.

    :raises Undocumented: a fixture has no docstring, or does not say what it gives.
    """
    found = {
        each.name: (each, scope)
        for file in files
        for each in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
        if (scope := _scope(each)) is not None
    }
    missing = [f"the fixture {name} has no docstring" for name, (each, _) in found.items() if not _docstring(each)]
    missing += [f"the fixture {name} has no type" for name, (each, _) in found.items() if each.returns is None]
    refuse(missing)
    return "\n".join(line for name in sorted(found) for line in _fixture(*found[name]))


def _scope(function: ast.FunctionDef) -> str | None:
    """How long a fixture lives; None for a function that is no fixture."""
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if ast.unparse(call.func if call else decorator) == "pytest.fixture":
            scopes = [each.value.value for each in call.keywords if each.arg == "scope"] if call else []  # type: ignore[attr-defined]
            return str(scopes[0]) if scopes else "function"
    return None


def _docstring(function: ast.FunctionDef) -> str:
    return _FIELD.split(ast.get_docstring(function) or "")[0].strip()


def _fixture(function: ast.FunctionDef, scope: str) -> Iterator[str]:
    kind = ast.unparse(cast("ast.expr", function.returns))
    given = _GIVEN_BY.fullmatch(kind)
    yield from (f"## `{function.name}`", "", _docstring(function), "")
    yield f"- Type: `{given[1] if given else kind}`"
    lives = "one for each test" if scope == "function" else f"one for each {scope}"
    yield from (f"- Scope: {lives}", "")


class Recorder:
    """A recorder of what the plugin tells pytest, in place of a parser of options, its group, plugins, and a config.

    :ivar options: word on the command line -> its words in the help.
    :ivar settings: name in the ini file -> its words in the help.
    :ivar marks: a line for each.
    """

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.marks: list[str] = []

    def getgroup(self, *_: str) -> Recorder:
        return self

    def import_plugin(self, _: str) -> None:
        """Nothing: marks and fixtures are looked for apart."""

    def register(self, *_: object) -> None:
        """Nothing: no test runs."""

    def addoption(self, name: str, **given: Any) -> None:
        self.options[name] = given

    def addini(self, name: str, help: str, **given: Any) -> None:  # noqa: A002 - pytest's name
        self.settings[name] = {"help": help, **given}

    def addinivalue_line(self, name: str, line: str) -> None:
        if name == "markers":
            self.marks.append(line)


def marks_text(modules: Sequence[ModuleType] | None = None) -> str:
    """Return a section for each mark.

    :param modules: plugins that describe marks; None: those of the toolkit.
    :raises Undocumented: a mark has no sentence.
    """
    recorder = Recorder()
    for module in [import_module(name) for name in FIXTURES] if modules is None else modules:
        if hasattr(module, "pytest_configure"):
            module.pytest_configure(cast("pytest.Config", recorder))
    marks = {head: text.strip() for head, _, text in (line.partition("):") for line in sorted(recorder.marks))}
    refuse([f"the mark {head.partition('(')[0]} has no sentence" for head, text in marks.items() if not text])
    lines = []
    for head, text in marks.items():
        name = head.partition("(")[0]
        lines += [f"## `{name}`", "", "```python", f"@pytest.mark.{head})", "```", "", text[0].upper() + text[1:], ""]
    return "\n".join(lines)


def options_text(recorder: Recorder | None = None) -> str:
    """Return the options of the command line, and the settings of the ini file.

    :param recorder: the recorder with the options; None: the options of the toolkit.
    :raises Undocumented: an option has no words in the help.
    """
    if recorder is None:
        recorder = Recorder()
        pytest_addoption(cast("pytest.Parser", recorder), cast("pytest.PytestPluginManager", recorder))
    shown = {name: each for name, each in recorder.options.items() if "SUPPRESS" not in str(each.get("help"))}
    former = {_key(name) for name in recorder.options if name not in shown}
    alone = {name: each for name, each in recorder.settings.items() if name not in former}
    refuse([f"{name} has no help" for name, each in {**shown, **alone}.items() if not each.get("help")])
    lines = ["## Options of the command line", ""]
    for name, each in sorted(shown.items()):
        lines += [f"`{name}`" if "metavar" not in each else f"`{name}={each['metavar']}`", f": {each['help']}"]
        lines += [f"  In the ini file: `{_key(name)}`." if _key(name) in alone else "", ""]
    lines += ["## Settings of the ini file alone", ""]
    for name, each in sorted(alone.items()):
        if name not in map(_key, shown):
            lines += [f"`{name}`", f": {each['help']}", ""]
    return "\n".join(lines)


def _key(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
