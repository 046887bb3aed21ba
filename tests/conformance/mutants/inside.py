"""Faults inside cosmos_venv: a function or class is replaced, in a process that ends with its test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any


def part(module: str = "") -> Any:
    """A module of cosmos_venv; imported here, since a mutant is known to processes that must not import Airflow."""
    return import_module(f"cosmos_venv.{module}" if module else "cosmos_venv")


def instead_of(module: str, name: str, faulty: Any) -> None:
    """Replace a function or class. For ``Adapter.begin``.

    :param module: below cosmos_venv, in which the name is looked up by those who use it.
    :param faulty: called with the sound one before all arguments.
    """
    home = part(module)
    setattr(home, name, partial(faulty, getattr(home, name)))


def install_more(spec: Any, environment: Path, requirements: Sequence[str]) -> None:
    """Install into an environment that stands, as ``spec`` says where packages come from."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, *spec.pip_install_options, *requirements], check=True)
