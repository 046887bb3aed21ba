"""The project of a DAG author, tested as its author tests it: our wheels, a directory of its own."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.installed import ENVIRONMENTS, ROOT, WHEELS
from tests.packaging.distributions import OFFLINE, Distribution, copy_environment, require, run, uv

PROJECT = ROOT / "examples" / "user_project"
AIRFLOW = ENVIRONMENTS / "airflow3"


@pytest.fixture(scope="module")
def python(product: Distribution, toolkit: Distribution, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an Airflow that both wheels were installed beside."""
    require(AIRFLOW / "bin" / "python", reason="a plain Airflow")
    require(WHEELS, reason="the wheels that our distributions need beyond Airflow's")
    python = str(copy_environment(AIRFLOW, tmp_path_factory.mktemp("user") / "environment", with_byte_code=True))
    wheels = [f"cosmos-venv[uv] @ {product.wheel.as_uri()}", str(toolkit.wheel)]
    run(uv("pip", "install", "--python", python, *OFFLINE, *wheels))
    return python


@pytest.mark.long
def test_the_tests_of_a_dag_author_pass(python: str, tmp_path: Path) -> None:
    project = tmp_path / "fleet"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    before = {path.name for path in project.iterdir()}
    ours = [option for name in os.environ if name.startswith(("AIRFLOW", "PYTEST")) for option in ("-u", name)]

    said = run(["env", *ours, python, "-m", "pytest", "--durations=0"], cwd=project)

    assert re.search(r"^=+ \d+ passed.* in ", said, re.MULTILINE), said
    assert "implementation cosmos_venv" in said
    assert {path.name for path in project.iterdir()} - {".pytest_cache"} == before
