"""The public names of a release, told in JSON by the release itself: what code, settings and commands may hold."""

from __future__ import annotations

import argparse
import enum
import importlib
import inspect
import json
import warnings
from collections.abc import Iterator
from typing import Any

# Those of which a release says what is public, or which have Cosmos's import path.
MODULES = (
    "cosmos_venv",
    "cosmos_venv.config",
    "cosmos_venv.constants",
    "cosmos_venv.dbt.graph",
    "cosmos_venv.exceptions",
    "cosmos_venv.io",
    "cosmos_venv.operators",
    "cosmos_venv.operators.local",
    "cosmos_venv.operators.virtualenv",
    "cosmos_venv.profiles",
)


def public_names() -> list[str]:
    """Return all of them, each a line of words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sorted({*_of_code(), *_of_settings(), *_of_commands()})


def _of_code() -> Iterator[str]:
    for path in MODULES:
        module = importlib.import_module(path)
        own = [name for name, found in vars(module).items() if getattr(found, "__module__", None) == path]
        for name in getattr(module, "__all__", own):
            found = getattr(module, name)
            yield f"{path}.{name}"
            if not inspect.isclass(found) or not found.__module__.startswith("cosmos_venv"):
                continue
            yield from (f"{path}.{name}({parameter})" for parameter in _parameters(found))
            if issubclass(found, enum.Enum):
                yield from (f"{path}.{name}.{member} = {found[member].value}" for member in found.__members__)
            yield from (f"{path}.{name} field {field}" for field in getattr(found, "template_fields", ()))


def _parameters(cls: type[Any]) -> Iterator[str]:
    for base in cls.__mro__:
        if base.__module__.startswith("cosmos_venv") and "__init__" in vars(base):
            yield from inspect.signature(vars(base)["__init__"]).parameters
        yield from getattr(base, "own_parameters", ())
        yield from getattr(base, "old_names", ())


def _of_settings() -> Iterator[str]:
    from importlib.metadata import distribution

    (point,) = distribution("cosmos-venv").entry_points.select(group="apache_airflow_provider")
    for section, content in point.load()()["config"].items():
        yield from (f"[{section}] {name} = {option['default']}" for name, option in content["options"].items())


def _of_commands() -> Iterator[str]:
    from cosmos_venv.cli import _parser

    pending = [("cosmos-venv", _parser())]
    while pending:
        command, parser = pending.pop()
        for action in parser._actions:
            yield from (f"{command} {word}" for word in action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                pending += [(f"{command} {name}", inner) for name, inner in action.choices.items()]
                yield from (f"{command} {name}" for name in action.choices)


if __name__ == "__main__":
    print("RESULT", json.dumps(public_names()))
