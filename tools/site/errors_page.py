"""The errors of the reference: the exceptions, and the texts with which the code raises them."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    told = {**docstrings(), **derived(trees.values()), **OF_AIRFLOW} if classes is None else classes
    refuse([f"the exception {name} has no docstring" for name, text in told.items() if not text.strip()])
    helpers = {name: texts for tree in trees.values() for name, texts in returned_in(tree).items()}
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for file, tree in trees.items():
        for name, text in raised_in(tree, helpers):
            found[name].setdefault(text, file.relative_to(PACKAGE).as_posix() if file.is_relative_to(PACKAGE) else "")
    return "\n".join(line for name, text in told.items() for line in _section(name, text, found[name]))


def docstrings() -> dict[str, str]:
    """Return the exceptions that users meet by name, each with its docstring."""
    return {
        name: (inspect.getdoc(each) if each.__doc__ != Exception.__doc__ else "") or ""
        for name, each in vars(exceptions).items()
        if isinstance(each, type) and issubclass(each, Exception) and each.__module__ == exceptions.__name__
    }


def derived(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return the public exceptions that other files derive from these, each with its docstring.

    :param trees: the files.
    """
    known, found = {*docstrings(), *OF_AIRFLOW}, {}
    for node in (each for tree in trees for each in ast.walk(tree) if isinstance(each, ast.ClassDef)):
        bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        if bases & known and node.name not in known and not node.name.startswith("_"):
            found[node.name] = ast.get_docstring(node) or ""
    return found


def returned_in(tree: ast.Module) -> dict[str, list[str]]:
    """Return the texts that functions of a file return: name of the function -> its texts.

    :param tree: the file.
    """
    constants = _constants(tree)
    return {
        node.name: [
            _text(each.value, constants) for each in ast.walk(node) if isinstance(each, ast.Return) and each.value
        ]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


def raised_in(tree: ast.Module, helpers: Mapping[str, Sequence[str]] | None = None) -> Iterator[tuple[str, str]]:
    """Return name and text of each exception that a file raises, or returns to be raised.

    :param tree: the file.
    :param helpers: the functions that put texts together -> these texts.
    """
    constants = _constants(tree)
    nodes = [each for each in ast.walk(tree) if isinstance(each, (ast.Raise, ast.Return))]
    for node in sorted(nodes, key=lambda each: each.lineno):
        made = node.exc if isinstance(node, ast.Raise) else node.value
        if not (isinstance(made, ast.Call) and made.args):
            continue
        name, said = ast.unparse(made.func).rpartition(".")[2], made.args[-1]
        helper = ast.unparse(said.func).rpartition(".")[2] if isinstance(said, ast.Call) else ""
        for text in (helpers or {}).get(helper) or [_text(said, constants)]:
            if len(text.replace(_UNKNOWN, "").strip()) >= _SHORTEST:
                yield name, " ".join(text.split())


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """The texts that a file assigns to names."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def _text(node: ast.expr, constants: Mapping[str, ast.expr]) -> str:
    """The text of an expression. A name in angle brackets stands for a value that is known only at run time."""
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
