"""Classes, functions and operators of the reference: each parameter with its type, its default and its sentence."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from importlib import import_module
from typing import Any, get_args

import cosmos_venv
from cosmos_venv import io, profiles
from cosmos_venv.constants import BatchBy
from cosmos_venv.operators import airflow_async, local, virtualenv, watcher
from cosmos_venv.operators.airflow_async import DbtRunAirflowAsyncOperator, TeardownAsyncOperator
from cosmos_venv.operators.base import REQUIRED
from cosmos_venv.operators.local import DbtLocalBaseOperator
from cosmos_venv.operators.virtualenv import DbtVirtualenvBaseOperator
from tools.site.docstrings import Docstring, read_docstring
from tools.site.undocumented import refuse

CLASSES = (
    *("DbtDag", "DbtTaskGroup", "DbtProjectDags"),
    *("ProjectConfig", "ProfileConfig", "ExecutionConfig", "RenderConfig"),
)
"""The classes that a DAG file is written with."""
FUNCTIONS = (profiles.get_automatic_profile_mapping, *(getattr(io, name) for name in sorted(io.__all__)))
_INIT_VAR = re.compile(r"InitVar\[(.+)\]")
_MODULE = re.compile(r"\b(?:[a-z_]+\.)+(?=\w)")
_OTHERS = ("args", "kwargs")
_NOT_GIVEN = inspect.Parameter.empty


def classes_text(classes: Sequence[type] | None = None) -> str:
    """Return a section for each class that a DAG file is written with, and for each enum of their parameters.

    :param classes: the classes to describe in place of ``CLASSES``; None: ``CLASSES``, and the enums too.
    :raises Undocumented: a class, or a parameter of one, has no sentence.
    """
    taken = [getattr(cosmos_venv, name) for name in CLASSES] if classes is None else classes
    lines = [line for each in taken for line in _called(each, f"from cosmos_venv import {each.__name__}")]
    if classes is None:
        enums = [getattr(cosmos_venv, name) for name in cosmos_venv.__all__ if _is_enum(name)]
        lines += [line for each in (*enums, BatchBy) for line in _enum(each)]
    return "\n".join(lines)


def functions_text(functions: Sequence[Callable[..., Any]] = FUNCTIONS) -> str:
    """Return a section for each function that a DAG file may call.

    :raises Undocumented: a function, or a parameter of one, has no sentence.
    """
    return "\n".join(line for each in functions for line in _called(each, _import_of(each)))


def operators_text() -> str:
    """Return the parameters of all operators, then those of each command alone.

    :raises Undocumented: an operator, or a parameter of one, has no sentence.
    """
    # These have constructors of their own; all other operators declare their parameters.
    whole = (DbtLocalBaseOperator, DbtVirtualenvBaseOperator, DbtRunAirflowAsyncOperator, TeardownAsyncOperator)
    lines = [line for each in whole for line in _called(each, None)]
    for module in (local, virtualenv, watcher, airflow_async):
        operators = (getattr(module, name) for name in sorted(module.__all__) if name.endswith(("Operator", "Sensor")))
        declared = (each for each in operators if "Base" not in each.__name__ and each not in whole)
        lines += [line for each in declared for line in _operator(each, module.__name__)]
    return "\n".join(lines)


def _is_enum(name: str) -> bool:
    found = getattr(cosmos_venv, name)
    return isinstance(found, type) and issubclass(found, Enum)


def _import_of(found: Callable[..., Any]) -> str:
    module = found.__module__
    package = module.rpartition(".")[0]
    is_public = found.__name__ in getattr(import_module(package), "__all__", ()) if package else False
    return f"from {package if is_public else module} import {found.__name__}"


def _called(of: Any, written: str | None) -> Iterator[str]:
    """The section of a class or a function."""
    told = read_docstring(of)
    signature = inspect.signature(vars(of)["__init__"] if written is None else of)
    taken = {name: each for name, each in signature.parameters.items() if name != "self"}
    own = dict(getattr(of, "own_parameters", {}))
    refuse(_missing(of.__name__, told, [name for name in taken if name not in _OTHERS and not name.startswith("_")]))
    yield from (f"## `{of.__name__}`", "", told.text, "")
    if written is not None:
        yield from ("```python", written, "```", "")
    for name, text in told.parameters.items():
        # A parameter that ``own_parameters`` of the class declares is in no signature.
        parameter = taken.get(name)
        default = own.get(name, _NOT_GIVEN) if parameter is None else parameter.default
        kind = "" if parameter is None else _kind(parameter.annotation, of.__module__)
        stars = {"args": "*", "kwargs": "**"}.get(name, "")
        yield from _entry(stars + name, kind, default, text, is_open=bool(stars))
    if told.returns:
        yield from (f"Returns {told.returns}", "")
    for name, text in told.raises.items():
        yield from (f"Raises `{name}`: {text}", "")


def _kind(annotation: object, module: str) -> str:
    """The type as the code writes it, with the meaning of an alias in the place of its name."""
    if not isinstance(annotation, str):
        return annotation.__name__ if isinstance(annotation, type) and annotation is not _NOT_GIVEN else ""
    names = vars(sys.modules[module])

    def meant(name: re.Match[str]) -> str:
        found = names.get(name[0])
        is_alias = found is not None and not isinstance(found, type) and get_args(found)
        return _MODULE.sub("", str(found)) if is_alias else name[0]

    found = _INIT_VAR.fullmatch(annotation)
    return re.sub(r"\b[A-Z]\w+\b(?!\[)", meant, found[1] if found else annotation)


def _missing(name: str, told: Docstring, taken: Sequence[str]) -> list[str]:
    missing = [] if told.text else [f"{name} has no docstring"]
    return missing + [
        f"the parameter {each} of {name} has no sentence" for each in taken if not told.parameters.get(each)
    ]


def _entry(name: str, kind: str, default: Any, text: str, *, is_open: bool = False) -> Iterator[str]:
    facts = [f"`{kind}`"] if kind and kind != "Any" else []
    facts += [] if is_open else [_default(default)]
    yield from (f"`{name}`", f": {text}", "")
    if facts:
        yield from (f"  {', '.join(facts)}", "")


def _default(default: Any) -> str:
    if default is _NOT_GIVEN or default is REQUIRED:
        return "required"
    if isinstance(default, Enum):
        return f"default `{type(default).__name__}.{default.name}`"
    if repr(default) == "<factory>":  # of a dataclass
        return "default: see the text"
    return f"default `{default!r}`"


def _enum(of: type[Enum]) -> Iterator[str]:
    told = read_docstring(of)
    refuse([] if told.text else [f"{of.__name__} has no docstring"])
    yield from (f"## `{of.__name__}`", "", told.text, "")
    for name, member in of.__members__.items():
        yield f"- `{name}`: `{member.value!r}`"
    yield ""


def _operator(of: Any, module: str) -> Iterator[str]:
    told = [read_docstring(each) for each in of.__mro__ if each.__module__.startswith("cosmos_venv.")]
    sentences = {name: text for each in reversed(told) for name, text in each.attributes.items()}
    own = dict(of.own_parameters)
    missing = [f"the parameter {name} of {of.__name__} has no sentence" for name in own if not sentences.get(name)]
    summary = next((each.text for each in told if each.text), "")
    refuse(missing + ([] if summary else [f"{of.__name__} has no docstring"]))
    kinds = {
        name: kind for each in reversed(of.__mro__) for name, kind in vars(each).get("__annotations__", {}).items()
    }
    yield from (f"## `{of.__name__}`", "", summary, "", "```python", f"from {module} import {of.__name__}", "```", "")
    for name in sorted(own):
        yield from _entry(name, _kind(kinds.get(name, ""), module), own[name], sentences[name])
