"""What does a test author import: the toolkit's public names, each loaded on first use.

pytest loads this package in every run of every project that has it installed, so it imports the standard library only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.dbt_record import DbtCall, read_dbt_calls
    from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
    from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.implementation import Implementation, ImplementationError, find_implementation
    from pytest_cosmos_venv.lookalike import RECORD_VARIABLE
    from pytest_cosmos_venv.suite import SuiteExit

__all__ = [
    "RECORD_VARIABLE",
    "DbtCall",
    "Implementation",
    "ImplementationError",
    "SuiteExit",
    "ToolkitMisuse",
    "Wheel",
    "Wheelhouse",
    "build_wheelhouse",
    "find_implementation",
    "read_dbt_calls",
    "write_wheel",
]

__version__ = "0.1.0"

_HOME = {
    "DbtCall": "environments.dbt_record",
    "Implementation": "implementation",
    "ImplementationError": "implementation",
    "RECORD_VARIABLE": "lookalike",
    "SuiteExit": "suite",
    "ToolkitMisuse": "errors",
    "Wheel": "environments.wheel",
    "Wheelhouse": "environments.wheelhouse",
    "build_wheelhouse": "environments.wheelhouse",
    "find_implementation": "implementation",
    "read_dbt_calls": "environments.dbt_record",
    "write_wheel": "environments.wheel",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
