"""The same tests pass on Airflow 2, and beside another plugin that sets up Airflow. Each in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.pytest_cosmos_venv.inner_run import BEFORE_3_13, python_of

HERE = Path(__file__).parent
DEADLINE = 240.0

# What runs on both majors: no pytester in it, so that nothing starts a third process.
FILES = [
    HERE.parent / room / f"test_{name}.py"
    for room, names in {
        "airflow": ("variables", "connections", "clock", "task_context"),
        "faults": ("attempts", "full_disk", "outages"),
        "runs": ("running__dag", "running__task", "running__at_once", "running__catch_up"),
    }.items()
    for name in names
]
BESIDE_IN_A_BOX = ("runs/test_running__task.py", "runs/test_running__catch_up.py", "airflow/test_clock.py")

# Airflow's database is made once, not in each run of these tests.
CACHE = [f"--cosmos-cache-dir={HERE.parents[2]}/.pytest_cache/d/cosmos-venv"]

CONFTEST = """
import os
import pytest

pytestmark = pytest.mark.long

@pytest.fixture
def airflow_home(): raise AssertionError("an override of another plugin's fixture, which ours do not use")

dbt_project = venv = frozen_time = airflow_home
"""


def run_tests(environment: str, folder: Path, options: Sequence[str]) -> str:
    """The end of what pytest says, run where nothing of this project's configuration applies."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
    done = subprocess.run(
        [str(python_of(environment)), "-m", "pytest", "-q", "--tb=short", "-c", str(folder / "pytest.ini"), *options],
        cwd=folder,
        env={**kept, "AIRFLOW_HOME": str(folder / "production")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert not (folder / "production").exists()
    return done.stdout


def passed(output: str) -> int:
    return int(re.findall(r"(\d+) passed", output)[-1])


@pytest.mark.long
@BEFORE_3_13
def test_all_of_it_on_airflow_2(tmp_path: Path) -> None:
    output = run_tests("cosmos2", tmp_path, ["--noconftest", "--durations=5", "-rs", *CACHE, *map(str, FILES)])

    assert passed(output) >= 65
    skips = [line for line in output.splitlines() if line.startswith("SKIPPED")]
    assert all("this Airflow takes each failing read for a missing Variable" in line for line in skips), skips


@pytest.mark.long
@pytest.mark.parametrize("order", ["ours-first", "ours-last"])
def test_beside_airflow_in_a_box_its_home_is_used(order: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_home.py").write_text(
        "import airflow\ndef test_home(cosmos_airflow):\n    assert 'in-a-box' in str(cosmos_airflow.home.path)\n",
        encoding="utf-8",
    )
    # Some of the files as they are. Once: the first run of a process takes seconds.
    for name in BESIDE_IN_A_BOX if order == "ours-first" else ():
        file = HERE.parent / name
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    plugins = ["pytest_cosmos_venv.plugin", "pytest_airflow_in_a_box.plugin"]
    ordered = plugins if order == "ours-first" else plugins[::-1]
    options = [part for plugin in ordered for part in ("-p", plugin)]
    blocked = ["-p", "no:cosmos_venv", "-p", "no:pytest_airflow_in_a_box"]

    output = run_tests(
        "crowd", tmp_path, [*options, *blocked, *CACHE, "-p", "no:xdist", f"--airflow-home={tmp_path}", str(tmp_path)]
    )

    assert passed(output) >= (20 if order == "ours-first" else 1)
    assert "skipped" not in output
