"""Importing the packages stays cheap: both are imported in processes that need nothing else of them."""

from __future__ import annotations

import subprocess
import sys

from pytest_cosmos_venv import plugin

NEW_MODULES = """
import sys
{before}
before = set(sys.modules)
import {module}
print(*sorted(set(sys.modules) - before))
"""


def modules_of(module: str, *, before: str = "") -> set[str]:
    """What beside the standard library an import brings in; ``before`` runs first and does not count."""
    code = NEW_MODULES.format(module=module, before=before)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}


def test_importing_the_product_imports_neither_airflow_nor_another_implementation() -> None:
    assert {name.partition(".")[0] for name in modules_of("cosmos_venv")} == {"cosmos_venv"}


def test_importing_the_plugin_imports_the_standard_library_and_pytest_only() -> None:
    plugins = ", ".join(plugin.FIXTURES)

    modules = modules_of(f"pytest_cosmos_venv.plugin, {plugins}", before="import pytest")

    fixtures = {name for name in modules if name.startswith("pytest_cosmos_venv.fixtures")}
    assert modules - fixtures == {"pytest_cosmos_venv", "pytest_cosmos_venv.plugin", "pytest_cosmos_venv.xdist_races"}
