"""The errors of the reference: the exceptions, and the texts with which the code raises them."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cosmos_venv
from cosmos_venv import exceptions
from tools.site.undocumented import refuse

PACKAGE = Path(str(cosmos_venv.__file__)).parent
FILES = tuple(sorted(PACKAGE.rglob("*.py")))
"""The files in which errors are raised."""
OF_AIRFLOW = {
    "AirflowException": "Airflow's own error: the task fails, and is tried again where it has `retries`.",
    "AirflowFailException": "Airflow's own error: the task fails, and is not tried again.",
    "AirflowSkipException": "Airflow's own signal: the task is skipped.",
}
_SHORTEST = 15  # characters: less is no sentence
_UNKNOWN = "…"


def errors_text(files: Sequence[Path] = FILES, classes: Mapping[str, str] | None = None) -> str:
    """Return a section for each exception, with the texts that it is raised with.

    :param files: of the code that raises.
    :param classes: exception -> its docstring; None: those that users meet.
    :raises Undocumented: an exception has no docstring.
    """
    told = {**docstrings(), **OF_AIRFLOW} if classes is None else classes
    refuse([f"the exception {name} has no docstring" for name, text in told.items() if not text.strip()])
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for file in files:
        for name, text in raised_in(file.read_text(encoding="utf-8")):
            found[name].setdefault(text, file.relative_to(PACKAGE).as_posix() if file.is_relative_to(PACKAGE) else "")
    return "\n".join(line for name, text in told.items() for line in _section(name, text, found[name]))


def docstrings() -> dict[str, str]:
    """Return the exceptions that users meet by name, each with its docstring."""
    return {
        name: (inspect.getdoc(each) if each.__doc__ != Exception.__doc__ else "") or ""
        for name, each in vars(exceptions).items()
        if isinstance(each, type) and issubclass(each, Exception) and each.__module__ == exceptions.__name__
    }


def raised_in(source: str) -> Iterator[tuple[str, str]]:
    """Return name and text of each exception that a file raises with a text of its own.

    :param source: the text of the file.
    """
    tree = ast.parse(source)
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for node in sorted((each for each in ast.walk(tree) if isinstance(each, ast.Raise)), key=lambda each: each.lineno):
        if isinstance(node.exc, ast.Call) and node.exc.args:
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            text = " ".join(_text(node.exc.args[-1], constants).split())
            if len(text.replace(_UNKNOWN, "")) >= _SHORTEST:
                yield name, text


def _text(node: ast.expr, constants: Mapping[str, ast.expr]) -> str:
    """The text of an expression. A name in angle brackets stands for what is known only then."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(each, constants) for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, constants) + _text(node.right, constants)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, constants)
    if isinstance(node, ast.Name):
        return _text(constants[node.id], constants) if node.id in constants else f"<{node.id.strip('_').lower()}>"
    if isinstance(node, ast.Attribute):
        return f"<{node.attr.strip('_')}>"
    return _UNKNOWN


def _section(name: str, docstring: str, texts: Mapping[str, str]) -> Iterator[str]:
    summary = docstring.partition("\n\n:")[0].strip()
    yield from (f"## `{name}`", "", summary, "")
    for text, file in sorted(texts.items(), key=lambda item: item[1]):
        fence = "``" if "`" in text else "`"
        yield f"- {fence} {text} {fence}" + (f" ({file})" if file else "")
    yield ""
