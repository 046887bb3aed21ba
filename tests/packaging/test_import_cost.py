"""Importing the packages stays cheap: both are imported in processes that need nothing else of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_cosmos_venv import plugin

NEW_MODULES = """
import sys
{before}
before = set(sys.modules)
import {module}
print(*sorted(set(sys.modules) - before))
"""


def modules_of(module: str, *, before: str = "") -> set[str]:
    """The modules beside the standard library that an import brings in; ``before`` runs first and does not count."""
    code = NEW_MODULES.format(module=module, before=before)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}


def test_importing_the_product_imports_neither_airflow_nor_another_implementation() -> None:
    assert {name.partition(".")[0] for name in modules_of("cosmos_venv")} == {"cosmos_venv"}


def test_importing_the_loaders_imports_no_airflow() -> None:
    assert not {"airflow", "cosmos_venv.compat"} & modules_of("cosmos_venv.project.loaders")


def test_importing_the_plugin_imports_the_standard_library_and_pytest_only() -> None:
    plugins = ", ".join(plugin.FIXTURES)

    modules = modules_of(f"pytest_cosmos_venv.plugin, {plugins}", before="import pytest")

    fixtures = {name for name in modules if name.startswith("pytest_cosmos_venv.fixtures")}
    assert modules - fixtures == {
        "pytest_cosmos_venv",
        "pytest_cosmos_venv.options",
        "pytest_cosmos_venv.plugin",
        "pytest_cosmos_venv.xdist_races",
    }


@pytest.mark.parametrize("module", ["dag", "operators.virtualenv", "project.manifest"])
def test_importing_what_a_dag_file_needs_imports_nothing_that_makes_environments(module: str) -> None:
    modules = modules_of(f"cosmos_venv.{module}", before="import airflow.sdk, airflow.models")

    # Each of them imports a dozen others: a refactoring made importing operators.virtualenv half as dear again.
    for_builds = (
        "cosmos_venv.environments.environment",
        "cosmos_venv.environments.layout",
        "cosmos_venv.environments.spec",
        "cosmos_venv.managed.resolve",
        "cosmos_venv.remote.download_cache",
    )
    assert not modules & {*for_builds}


COUNTED_SIGNATURES = """
import inspect
import cosmos_venv.compat
worked_out, real = [], inspect._signature_from_function
inspect._signature_from_function = lambda cls, function, *args, **more: (
    worked_out.append(function.__qualname__) or real(cls, function, *args, **more)
)
import cosmos_venv.operators.virtualenv
print(*worked_out)
"""


def test_the_signature_of_a_constructor_is_worked_out_once_for_all_operators_that_have_it() -> None:
    """Airflow asks for it in each class with a mixin before its base: 4 ms of each parse, of 40."""
    done = subprocess.run([sys.executable, "-c", COUNTED_SIGNATURES], capture_output=True, text=True, check=True)

    of_operators = [name for name in done.stdout.split() if name.endswith("__init__") and "Dbt" in name]
    assert sorted(of_operators) == sorted(set(of_operators))
    assert "DbtLocalBaseOperator.__init__" in of_operators
