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


@pytest.mark.parametrize("module", ["constants", "exceptions", "project.loaders"])
def test_what_can_be_imported_before_airflow_imports_none(module: str) -> None:
    assert not {"airflow", "cosmos_venv.compat"} & modules_of(f"cosmos_venv.{module}")


def test_importing_the_plugin_imports_the_standard_library_and_pytest_only() -> None:
    plugins = ", ".join(plugin.FIXTURES)

    modules = modules_of(f"pytest_cosmos_venv.plugin, {plugins}", before="import pytest")

    fixtures = {name for name in modules if name.startswith("pytest_cosmos_venv.fixtures")}
    assert modules - fixtures == {
        "pytest_cosmos_venv",
        "pytest_cosmos_venv.options",
        "pytest_cosmos_venv.plugin",
    }


@pytest.mark.parametrize("module", ["dag", "operators.virtualenv", "project.manifest"])
def test_importing_what_a_dag_file_needs_imports_nothing_that_makes_environments(module: str) -> None:
    modules = modules_of(f"cosmos_venv.{module}", before="import airflow.sdk, airflow.models")

    # Each of them imports a dozen others: a refactoring made importing operators.virtualenv half as dear again.
    for_builds = (
        "cosmos_venv.environments",
        "cosmos_venv.managed.remote_environments",
        "cosmos_venv.remote.download_cache",
    )
    assert not [name for name in modules if name.startswith(for_builds)]


def test_the_key_of_journals_and_plans_is_read_without_what_builds_environments() -> None:
    read = "cosmos_venv.managed.caches; cosmos_venv.managed.caches._kept_key()"

    modules = modules_of(read, before="import airflow.sdk, airflow.models")

    assert not [name for name in modules if name.startswith("cosmos_venv.environments")]
