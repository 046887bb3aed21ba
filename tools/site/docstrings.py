"""Docstrings in reST field lists, read: what they say of each parameter."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_FIELD = re.compile(r":(?P<kind>param|ivar|raises|returns) ?(?P<names>[^:]*): ?(?P<text>.*)")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


@dataclass(frozen=True, kw_only=True)
class Docstring:
    """A docstring in its parts, as Markdown.

    :param text: what stands before the fields; empty: there is no docstring.
    :param parameters: name -> its sentence; of ``:param a, b:`` both have it.
    :param attributes: likewise, of ``:ivar name:``.
    :param raises: exception -> when.
    :param returns: what a function gives.
    """

    text: str
    parameters: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    raises: dict[str, str] = field(default_factory=dict)
    returns: str = ""


def read_docstring(of: object) -> Docstring:
    """Read the docstring of a class or function itself, not that of a base class.

    :param of: a class or function.
    """
    lines = inspect.cleandoc(vars(of).get("__doc__") or "").splitlines() if isinstance(of, type) else []
    lines = lines or ([] if isinstance(of, type) else (inspect.getdoc(of) or "").splitlines())
    text: list[str] = []
    fields: list[tuple[str, str, list[str]]] = []
    for line in lines:
        if found := _FIELD.match(line):
            fields.append((found["kind"], found["names"], [found["text"]]))
        elif fields:
            fields[-1][2].append(line.strip())
        else:
            text.append(line)
    parts: dict[str, dict[str, str]] = {"param": {}, "ivar": {}, "raises": {}, "returns": {}}
    for kind, names, words in fields:
        for name in names.split(","):
            parts[kind][name.strip().lstrip("*")] = as_markdown(" ".join(words))
    return Docstring(
        text=as_markdown("\n".join(text)),
        parameters=parts["param"],
        attributes=parts["ivar"],
        raises=parts["raises"],
        returns=" ".join(parts["returns"].values()),
    )


def as_markdown(text: str) -> str:
    """Return a text of a docstring as Markdown.

    :param text: in reST, of which docstrings here use literals and roles.
    """
    return _ROLE.sub(r"`\1`", text).replace("``", "`").replace("**kwargs", r"\*\*kwargs").strip()
