"""Where is a class of Airflow? Its modules moved between Airflow 2 and 3; the first place that has it is taken."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse


def first_of(name: str, *modules: str) -> Any:
    """What is called so in the first of the modules that can be imported and has it, the newest place first.

    :raises ToolkitMisuse: there is no Airflow, or none that has it.
    """
    reasons = []
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            reasons.append(str(error))
    raise ToolkitMisuse(f"Airflow's {name} cannot be imported here: {reasons[-1]}.")
