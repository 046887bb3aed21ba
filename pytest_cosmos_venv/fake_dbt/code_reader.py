"""The calls of ``ref``, ``source`` and ``config`` in the text of a node, read without Jinja and without dbt.

Expressions of Jinja are near to those of Python and are evaluated as such. What cannot be (macros, loops, filters)
stands in ``Reading.unread``, for the warning of the fake.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from .configs import merged_config

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
        """Return a value of YAML with its expressions evaluated; what has no value here stays as it is written.

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
    """What one text says. ``refs`` are package (None: any), name and version ("": none) of each ``ref``.

    :param scope: the names that its expressions know.
    """

    def __init__(self, scope: Scope) -> None:
        self.refs: list[tuple[str | None, str, str]] = []
        self.sources: list[tuple[str, str]] = []
        self.config: dict[str, Any] = {}
        self.called: dict[str, None] = {}
        self.unread: list[str] = []
        noted = {"ref": self._ref, "source": self._source, "config": self._config}
        self._names = {**scope, **noted, "is_incremental": lambda: False}

    def _ref(self, *names: str, v: Any = None, version: Any = None) -> str:
        version = v if version is None else version
        self.refs.append((names[0] if names[1:] else None, names[-1], "" if version is None else str(version)))
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
        branches: list[list[bool | None]] = []  # of each open "if": is it taken (None: unknown), was one taken before
        for kind, body, _ in tags_of(text):
            word, _, rest = body.partition(" ") if kind == "{%" else ("", "", body)
            if word in ("if", "elif"):
                branches = branches if word == "elif" else [*branches, [True, False]]
                self._branch(branches, rest)
            elif word == "else" and branches:
                branches[-1] = [None if None in branches[-1] else not branches[-1][1], True]
            elif word == "for":
                branches.append([None, None])
            elif word in ("endif", "endfor") and branches:
                branches.pop()
            elif word not in ("snapshot", "macro", "test", "data_test") and all(b[0] is not False for b in branches):
                self._evaluate(body if word in ("", "set") else rest, is_certain=all(b[0] for b in branches))
        return self

    def _branch(self, branches: list[list[bool | None]], condition: str) -> None:
        taken_before = branches[-1][1]
        try:
            is_true = None if taken_before is None else not taken_before and bool(value_of(condition, self._names))
        except Exception:  # noqa: BLE001 - whatever Jinja and dbt know, and Python does not
            is_true = None
        self._note_macros(condition)
        branches[-1] = [is_true, None if is_true is None else taken_before or is_true]

    def _evaluate(self, body: str, *, is_certain: bool) -> None:
        self._note_macros(body)
        before = (len(self.refs), len(self.sources), self.config)
        try:
            if assigned := re.match(r"set\s+(\w+)\s*=(.*)", body, re.DOTALL):
                self._names[assigned[1]] = value_of(assigned[2], self._names)
            else:
                value_of(body, self._names)
        except Exception:  # noqa: BLE001 - likewise
            del self.refs[before[0] :], self.sources[before[1] :]
            self.config = before[2]
            self._pick_calls(body)
        if not is_certain and before != (len(self.refs), len(self.sources), self.config):
            self.unread.append(f"the condition or loop around {body}")

    def _pick_calls(self, body: str) -> None:
        """Take the calls that stand in an expression which has no value here, such as one of a macro."""
        for called in _CALLED.finditer(body):
            if called[1] in _NOTED:
                end = _end_of(body, called.end(), ")")
                try:
                    value_of(body[called.start() : end + 1], self._names)
                except Exception:  # noqa: BLE001 - likewise
                    self.unread.append(body[called.start() : end + 1])

    def _note_macros(self, body: str) -> None:
        self.called.update(dict.fromkeys(_CALLED.findall(body)))

    def read_python(self, text: str) -> Reading:
        """Read a model in Python, and return this reading.

        :param text: the text.
        """
        with suppress(SyntaxError):
            for node in ast.walk(ast.parse(text)):
                is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if is_call and ast.unparse(node.func) in [f"dbt.{name}" for name in _NOTED]:  # type: ignore[attr-defined]
                    self._pick_calls(ast.unparse(node)[len("dbt.") :])
        return self


def tags_of(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each tag of Jinja but comments: how it opens, what stands in it, and the whole.

    :param text: the text.
    """
    position = 0
    while found := _OPEN.search(text, position):
        close = _CLOSE[found[0]]
        end = text.find(close, found.end()) if found[0] == "{#" else _end_of(text, found.end(), close)
        if end < 0:
            return
        position = end + 2
        if found[0] != "{#":
            yield found[0], text[found.end() : end].strip("-+ \t\r\n"), text[found.start() : position]


def _end_of(text: str, position: int, close: str) -> int:
    """Return where ``close`` stands, outside of brackets and quotes that open after a position; -1: nowhere."""
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
