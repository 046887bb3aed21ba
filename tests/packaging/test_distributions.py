"""The two distributions are complete, and nothing more than that, whichever way they are built."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.installed import WHEELS
from tests.packaging.distributions import (
    OFFLINE,
    PROJECTS,
    Distribution,
    files_of,
    make_environment,
    require,
    run,
    text_of,
    uv,
)

pytestmark = [pytest.mark.long, pytest.mark.proof]


@pytest.mark.parametrize("name", ["product", "toolkit"])
def test_the_wheel_of_the_sdist_holds_what_the_wheel_of_the_checkout_holds(
    name: str, request: pytest.FixtureRequest
) -> None:
    built: Distribution = request.getfixturevalue(name)

    assert files_of(built.wheel_of_sdist) == files_of(built.wheel)


def test_the_products_wheel_holds_the_package_and_nothing_else(product: Distribution) -> None:
    files = files_of(product.wheel)

    assert top_level(files) == {"cosmos_venv"}
    assert "cosmos_venv/py.typed" in files
    assert_is_clean(files)


def test_the_toolkits_wheel_holds_the_plugin_and_the_suite_below_it(toolkit: Distribution) -> None:
    files = files_of(toolkit.wheel)

    assert top_level(files) == {"pytest_cosmos_venv"}
    assert {
        "pytest_cosmos_venv/__init__.py",
        "pytest_cosmos_venv/plugin.py",
        "pytest_cosmos_venv/py.typed",
        "pytest_cosmos_venv/conformance/__init__.py",
        "pytest_cosmos_venv/conformance/SPEC.md",
        "pytest_cosmos_venv/conformance/example_adapter.py",
        "pytest_cosmos_venv/conformance/pytest.ini",
        "pytest_cosmos_venv/conformance/checks/test_smoke.py",
        "pytest_cosmos_venv/conformance/checks/served/test_watch.py",
    } <= files
    assert [name for name in files if "/reports/" in name] == []
    assert_is_clean(files)


@pytest.mark.parametrize("name", ["product", "toolkit"])
def test_each_wheel_carries_its_licence_and_readme(name: str, request: pytest.FixtureRequest) -> None:
    built: Distribution = request.getfixturevalue(name)

    metadata = text_of(built.wheel, "METADATA")

    assert "License-Expression: Apache-2.0" in metadata
    assert "Apache License" in text_of(built.wheel, "licenses/LICENSE")
    assert "Description-Content-Type: text/markdown" in metadata


def test_the_product_registers_its_command_and_itself_with_airflow(product: Distribution) -> None:
    entry_points = text_of(product.wheel, "entry_points.txt")

    assert "[console_scripts]\ncosmos-venv = cosmos_venv.cli:main" in entry_points
    assert "[apache_airflow_provider]\nprovider_info = cosmos_venv.settings:get_provider_info" in entry_points
    assert "[airflow.plugins]\ncosmos_venv = cosmos_venv.plugin.airflow_plugin:CosmosVenvPlugin" in entry_points
    # With which tests tell the server of warm starts from what a task has left behind.
    assert "[cosmos_services]\ndbt-warm-server = cosmos_venv.dbt.warm.server.server:NAME" in entry_points


def test_the_toolkit_registers_its_command_and_its_plugin_with_pytest(toolkit: Distribution) -> None:
    entry_points = text_of(toolkit.wheel, "entry_points.txt")

    assert entry_points.strip() == (
        "[console_scripts]\ncosmos-conformance = pytest_cosmos_venv.conformance.command:main\n\n"
        "[pytest11]\ncosmos_venv = pytest_cosmos_venv.plugin"
    )


def test_the_toolkit_asks_for_neither_airflow_nor_an_implementation(toolkit: Distribution) -> None:
    metadata = text_of(toolkit.wheel, "METADATA")

    required = [line.partition(":")[2].strip() for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert required
    assert [each for each in required if each.startswith(("apache-airflow", "cosmos", "astronomer"))] == []


def test_the_product_imports_in_an_empty_environment(product: Distribution, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")

    run(uv("pip", "install", "--python", str(python), "--no-deps", "--no-index", str(product.wheel)))

    assert run([str(python), "-c", "import cosmos_venv; print(cosmos_venv.__version__)"], cwd=tmp_path).strip()


def test_the_toolkit_works_without_the_product(toolkit: Distribution, tmp_path: Path) -> None:
    require(WHEELS, reason="the wheels that pytest-cosmos-venv needs")
    python = make_environment(tmp_path / "environment")

    run(uv("pip", "install", "--python", str(python), *OFFLINE, str(toolkit.wheel_of_sdist)))

    assert "--cosmos-conformance" in run([str(python), "-m", "pytest", "--help"], cwd=tmp_path)
    answer = run([str(python), "-c", CONFORMANCE_EXIT_CODE], cwd=tmp_path)
    assert "No implementation is installed here: install astronomer-cosmos (cosmos) or cosmos-venv" in answer
    assert answer.endswith("exit code 4\n")


CONFORMANCE_EXIT_CODE = """
import subprocess, sys
done = subprocess.run([sys.executable, "-m", "pytest", "--cosmos-conformance"], stderr=subprocess.STDOUT)
print("exit code", done.returncode)
"""


def test_an_editable_installation_reaches_plugin_and_suite(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    project = PROJECTS["pytest_cosmos_venv"]
    command = [
        sys.executable,
        "-c",
        "from hatchling.build import build_editable as b; import sys; print(b(sys.argv[1]))",
    ]
    run([*command, str(tmp_path)], cwd=project)
    (wheel,) = tmp_path.glob("*.whl")

    run(uv("pip", "install", "--python", str(python), "--no-deps", "--no-index", str(wheel)))

    found = run([str(python), "-c", "import pytest_cosmos_venv.conformance as c; print(c.__file__)"], cwd=tmp_path)
    assert Path(found.strip()) == project / "conformance" / "__init__.py"


def top_level(files: set[str]) -> set[str]:
    """The top-level packages of a wheel."""
    return {name.partition("/")[0] for name in files if ".dist-info/" not in name}


def assert_is_clean(files: set[str]) -> None:
    """No byte code, no caches, none of the project's own tests."""
    assert {name for name in files if re.search(r"(__py|/\.\w+_)cache", name) or "/tests/" in name} == set()
