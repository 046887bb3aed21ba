"""The workflow that the toolkit offers for copying would run: it is YAML, and what its steps call is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pytest_cosmos_venv.inner_run import ROOT

WORKFLOW = ROOT / "docs" / "how-to" / "testing" / "github-workflow.yml"
BIN = Path(sys.executable).parent
EXPRESSION = re.compile(r"\$\{\{ *(?P<name>[\w.-]+) *\}\}")


def job() -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    ((_, only),) = workflow["jobs"].items()
    return dict(only)


def test_every_action_has_a_version_and_every_expression_a_value() -> None:
    steps = job()["steps"]
    known = {"github.workflow", "github.ref", *(f"matrix.{name}" for name in job()["strategy"]["matrix"])}
    known |= {f"steps.{step['id']}.outputs.key" for step in steps if "id" in step}

    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert {found["name"] for found in EXPRESSION.finditer(WORKFLOW.read_text(encoding="utf-8"))} == known


@pytest.mark.long
def test_what_the_steps_run_runs(tmp_path: Path) -> None:
    """The project has one test and one DAG. Nothing is installed: pip is asked whether it understands the step."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "harbor.py").write_text(
        "from airflow import DAG\ndag = DAG('harbor', schedule=None)  # DbtDag\n", "utf-8"
    )
    (tmp_path / "dags" / "cosmos-snapshots").mkdir()
    (tmp_path / "dags" / "cosmos-snapshots" / "harbor.shape.txt").write_text("dag harbor\n", encoding="utf-8")
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "test_it.py").write_text("def test_it(cosmos_dbt): pass\n", encoding="utf-8")
    replaced = {"matrix.requirements": "requirements.txt"}
    output = tmp_path / "output"

    runs = [step["run"] for step in job()["steps"] if "run" in step]
    for run in runs:
        command = EXPRESSION.sub(lambda found: replaced[found["name"]], run)
        command = command.replace("pip install", "pip install --help").replace(" pytest-cosmos-venv uv", "")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST", "COV"))}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            env={**kept, "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]), "GITHUB_OUTPUT": str(output)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    assert len(runs) == 4
    assert re.fullmatch(r"key=cosmos-venv-\S+\n", output.read_text(encoding="utf-8"))
    assert (tmp_path / ".cosmos-cache").is_dir()
    assert 'tests="1"' in (tmp_path / "test-report.xml").read_text(encoding="utf-8")
