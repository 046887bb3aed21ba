"""The calls of ``ref``, ``source`` and ``config`` in the text of a node, read without Jinja and without dbt.

Expressions of Jinja resemble those of Python, and are evaluated as Python; conditions, loops and the project's macros
are followed. ``Reading.unread`` lists what cannot be evaluated: filters, macros of adapters, results of queries.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from .configs import merged_config

_RAW = re.compile(r"{%[-+]?\s*raw\s*-?%}.*?{%-?\s*endraw\s*[-+]?%}", re.DOTALL)
_OPEN = re.compile(r"\{[{%#]")
_CLOSE = {"{{": "}}", "{%": "%}", "{#": "#}"}
_CALLED = re.compile(r"(?<![\w.'\"])((?:\w+\.)?\w+)\s*\(")
_NOTED = ("ref", "source", "config")
_CONSTANTS = {"true": True, "false": False, "none": None, "execute": False}


def value_of(expression: str, names: Mapping[str, Any]) -> Any:
    """Return the value of an expression.

    :param expression: the expression.
    :param names: the names that it knows.
    :raises Exception: it has no value without Jinja or dbt.
    """
    # The project is the test's own, and dbt evaluates the same expression.
    return eval(expression.strip(), dict(names))  # noqa: S307


class Scope(dict[str, Any]):
    """The names that an expression of a project knows.

    :param variables: the values of ``var()``.
    :param target: the values of ``target.name`` and its like.
    """

    def __init__(self, variables: Mapping[str, Any], target: Mapping[str, Any]) -> None:
        def var(name: str, default: Any = None) -> Any:
            return variables.get(name, default)

        def env_var(name: str, default: str = "") -> str:
            return os.environ.get(name, default)

        names = {"var": var, "env_var": env_var, "target": SimpleNamespace(**target)}
        super().__init__(_CONSTANTS, **names, __builtins__={"range": range})

    def rendered(self, value: Any) -> Any:
        """Return a value of YAML with its expressions evaluated; an expression without a value here stays as written.

        :param value: the value, with all below it.
        """
        if isinstance(value, dict):
            return {key: self.rendered(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.rendered(each) for each in value]
        if not isinstance(value, str) or "{{" not in value:
            return value
        with suppress(Exception):
            tags = list(tags_of(value))
            if len(tags) == 1 and value.strip() == tags[0][2]:
                return value_of(tags[0][1], self)
            for _, body, tag in tags:
                value = value.replace(tag, str(value_of(body, self)))
        return value


class Reading:
    """The calls in one text. ``refs`` are package (None: any), name and version (None: none) of each ``ref``.

    ``unread`` are, in words, the references and configurations without a value here, and syntax errors.

    :param scope: the names that its expressions know.
    :param macros: package -> name -> text of a macro, with its parameters; the macros of the text's own package stand
        under ``""`` too.
    """

    def __init__(self, scope: Scope, macros: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.refs: list[tuple[str | None, str, Any]] = []
        self.sources: list[tuple[str, str]] = []
        self.config: dict[str, Any] = {}
        self.unread: list[str] = []
        noted = {"ref": self._ref, "source": self._source, "config": self._config}
        own = {package: self._macros_of(texts) for package, texts in (macros or {}).items()}
        spaces = {package: SimpleNamespace(**own[package]) for package in own if package}
        self._names = {**scope, **own.get("", {}), **spaces, **noted, "is_incremental": lambda: False}

    def _macros_of(self, texts: Mapping[str, str]) -> dict[str, Callable[..., str]]:
        return {name: partial(self._call_macro, texts[name]) for name in texts}

    def _call_macro(self, macro: str, *arguments: Any, **keywords: Any) -> str:
        """Read the body of a macro for one call; the macro's parameters hide names of the text."""
        head, _, body = macro.partition("%}")
        parameters = head.partition("(")[2].rpartition(")")[0]
        before = self._names
        self._names = {**before, **self._bound(parameters, *arguments, **keywords)}
        try:
            self._read_parts(_parts_of(body), is_certain=True)
        finally:
            self._names = before
        return ""

    def _bound(self, parameters: str, /, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """Return name -> value of written parameters, bound to the arguments of a call."""
        bind = value_of(f"lambda {parameters}: locals()", {**self._names, "locals": locals})
        found: dict[str, Any] = bind(*arguments, **keywords)
        return found

    def _ref(self, *names: str, v: Any = None, version: Any = None) -> str:
        self.refs.append((names[0] if names[1:] else None, names[-1], v if version is None else version))
        return names[-1]

    def _source(self, source: str, table: str) -> str:
        self.sources.append((source, table))
        return table

    def _config(self, *given: dict[str, Any], **keywords: Any) -> str:
        for values in (*given, keywords):
            said = {{"pre_hook": "pre-hook", "post_hook": "post-hook"}.get(key, key): values[key] for key in values}
            self.config = merged_config(self.config, said)
        return ""

    def read(self, text: str) -> Reading:
        """Read a text of SQL, and return this reading.

        :param text: the text.
        """
        self._read_parts(_parts_of(text), is_certain=True)
        return self

    def _read_parts(self, parts: list[_Part], *, is_certain: bool) -> None:
        for part in parts:
            if part.word == "if":
                self._read_branches(part, is_certain=is_certain)
            elif part.word == "for":
                self._read_loop(part, is_certain=is_certain)
            elif part.word not in ("snapshot", "macro", "test", "data_test"):
                self._evaluate(part, is_certain=is_certain)

    def _read_branches(self, part: _Part, *, is_certain: bool) -> None:
        for branch in part.branches:
            try:
                is_true = bool(value_of(branch.body, self._names)) if branch.word != "else" else True
            except Exception:  # noqa: BLE001 - Python cannot evaluate everything of Jinja and dbt
                is_certain = False
                is_true = None
            if is_true is not False:
                self._read_parts(branch.parts, is_certain=is_certain)
            if is_true:
                return

    def _read_loop(self, part: _Part, *, is_certain: bool) -> None:
        target, _, iterable = part.body.partition(" in ")
        try:
            values = value_of(iterable, self._names)
            rounds = [self._bound(target, *(each if "," in target else [each])) for each in values]
        except Exception:  # noqa: BLE001 - likewise
            rounds, is_certain = [{}], False
        before = self._names
        for number, names in enumerate(rounds):
            loop = SimpleNamespace(index0=number, index=number + 1, first=not number, last=number + 1 == len(rounds))
            self._names = {**self._names, "loop": loop, **names}
            self._read_parts(part.parts, is_certain=is_certain)
        self._names = before

    def _evaluate(self, part: _Part, *, is_certain: bool) -> None:
        body = part.body
        before = (len(self.refs), len(self.sources), self.config)
        try:
            if part.word == "set":
                name, equals, value = body.partition("=")
                self._names[name.strip()] = value_of(value, self._names) if equals else ""
            else:
                value_of(body, self._names)
        except Exception:  # noqa: BLE001 - likewise
            del self.refs[before[0] :], self.sources[before[1] :]
            self.config = before[2]
            self._pick_calls(body)
        if not is_certain and before != (len(self.refs), len(self.sources), self.config):
            self.unread.append(f"the condition or loop around {body}")

    def _pick_calls(self, body: str) -> None:
        """Read the calls inside an expression that has no value here, such as a call of an adapter's macro."""
        for called in _CALLED.finditer(body):
            if called[1] in _NOTED:
                end = _end_of(body, called.end(), ")")
                try:
                    value_of(body[called.start() : end + 1], self._names)
                except Exception:  # noqa: BLE001 - likewise
                    self.unread.append(body[called.start() : end + 1])

    def read_python(self, text: str) -> Reading:
        """Read a model in Python, and return this reading.

        :param text: the text.
        """
        try:
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        except SyntaxError as error:
            self.unread.append(f"{error.msg} (line {error.lineno})")
            return self
        for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
            if ast.unparse(call.func) in [f"dbt.{name}" for name in _NOTED]:
                self._pick_calls(ast.unparse(call)[len("dbt.") :])
        return self


class _Part(NamedTuple):
    """A tag of Jinja with the tags up to its end tag.

    :param word: the word of a statement, such as ``if``; empty for an expression.
    :param body: the text behind the word.
    :param parts: the tags in a loop or a branch.
    :param branches: the branches of an ``if``, the first with its condition.
    """

    word: str
    body: str
    parts: list[_Part]
    branches: list[_Part]


def _parts_of(text: str) -> list[_Part]:
    root = _Part("", "", [], [])
    open_parts = [root]
    for kind, whole, _ in tags_of(text):
        word, _, body = whole.partition(" ") if kind == "{%" else ("", "", whole)
        if word in ("endif", "endfor"):
            del open_parts[max(1, len(open_parts) - 1) :]
        elif word in ("elif", "else"):
            if len(open_parts) > 1:
                open_parts.pop()
                owner = open_parts[-1].parts[-1]
                owner.branches.append(_Part(word, body, [], []))
                open_parts.append(owner.branches[-1])
        else:
            part = _Part(word, body, [], [])
            open_parts[-1].parts.append(part)
            if word == "if":
                part.branches.append(_Part(word, body, [], []))
                open_parts.append(part.branches[0])
            elif word == "for":
                open_parts.append(part)
    return root.parts


def tags_of(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each tag of Jinja except comments and raw blocks: its opening, its content, and the whole tag.

    :param text: the text.
    """
    text, position = _RAW.sub("", text), 0
    while found := _OPEN.search(text, position):
        close = _CLOSE[found[0]]
        end = text.find(close, found.end()) if found[0] == "{#" else _end_of(text, found.end(), close)
        if end < 0:
            return
        position = end + 2
        if found[0] != "{#":
            yield found[0], text[found.end() : end].strip("-+ \t\r\n"), text[found.start() : position]


def _end_of(text: str, position: int, close: str) -> int:
    """Return the position of ``close`` outside of brackets and quotes that open after a position; -1: nowhere."""
    depth, quote = 0, ""
    while position < len(text):
        char = text[position]
        if quote:
            position += char == "\\"
            quote = "" if char == quote else quote
        elif depth == 0 and text.startswith(close, position):
            return position
        elif char in "'\"":
            quote = char
        else:
            depth += (char in "([{") - (char in ")]}")
        position += 1
    return -1
