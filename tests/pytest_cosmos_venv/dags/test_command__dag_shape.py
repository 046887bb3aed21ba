"""The command ``cosmos-dag-shape`` keeps shapes and notices changes, as a person, pre-commit and CI run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from pytest_cosmos_venv.dags import command
from pytest_cosmos_venv.errors import ToolkitMisuse

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 120.0
SOURCE = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
from names import NAMES

for number, names in enumerate(NAMES):
    with DAG(f"harbor_{number}", schedule=None):
        for name in names:
            BashOperator(task_id=name, bash_command=f"echo {name}")
"""


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    """A folder of three files: two DAGs, none, and one that is broken."""
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "harbor.py").write_text(SOURCE, encoding="utf-8")
    (folder / "names.py").write_text('NAMES = (["arrive"], ["crane", "dock"])\n', encoding="utf-8")
    (folder / "broken.py").write_text("import airflow.sdk  # a DAG\nimport no_such_module\n", encoding="utf-8")
    return folder


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return subprocess.run(
        [sys.executable, "-m", "pytest_cosmos_venv.dags", *arguments],
        cwd=cwd,
        env={**kept, "TMPDIR": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


@pytest.mark.long
def test_the_command_keeps_a_shape_and_fails_when_it_changes(dags: Path) -> None:
    kept = _run("--update", "--field", "bash_command", "dags/harbor.py", "dags/names.py", cwd=dags.parent)
    (dags / "names.py").write_text('NAMES = (["arrive"], ["crane", "leave"])\n', encoding="utf-8")
    changed = _run("--field=bash_command", "dags/harbor.py", "dags/names.py", "dags/broken.py", cwd=dags.parent)

    assert (kept.returncode, kept.stdout) == (0, "dags/harbor.shape.txt: written\n"), kept.stderr
    assert (dags / "harbor.shape.txt").read_text("utf-8") == (
        "dag harbor_0\n  arrive (BashOperator)\n    bash_command = 'echo arrive'\n\n"
        "dag harbor_1\n  crane (BashOperator)\n    bash_command = 'echo crane'\n"
        "  dock (BashOperator)\n    bash_command = 'echo dock'\n"
    )
    assert not (dags / "names.shape.txt").exists()
    assert changed.returncode == command.BROKEN, changed.stderr
    assert "-  dock (BashOperator)\n-    bash_command = 'echo dock'\n+  leave (BashOperator)\n" in changed.stdout
    assert "If it is meant so: cosmos-dag-shape --update dags/harbor.py" in changed.stdout
    assert "dags/broken.py could not be parsed:" in changed.stderr
    assert "No module named 'no_such_module'" in changed.stderr
    assert list(dags.parent.glob("cosmos-dag-shape-*")) == []


def test_a_misspelt_field_is_refused_and_one_of_other_operators_is_not() -> None:
    with DAG("harbor", schedule=None) as dag:
        BashOperator(task_id="arrive", bash_command="true")

    command.refuse_misspelt([dag], ["bash_command", "select"])
    with pytest.raises(ToolkitMisuse, match=r"--field bash_comand: no task has it\. Did you mean bash_command\?"):
        command.refuse_misspelt([dag], ["bash_comand"])


def test_pre_commit_runs_the_installed_script() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    project = (ROOT / "pytest_cosmos_venv" / "pyproject.toml").read_text("utf-8")

    assert hook["entry"] == hook["id"] == "cosmos-dag-shape"
    (script,) = metadata.entry_points(group="console_scripts", name=hook["entry"])
    assert script.value == f"{command.__name__}:main"
    assert f'{hook["id"]} = "{script.value}"\n' in project.partition("[project.scripts]\n")[2]
    assert re.search(hook["files"], "my_project/dags/harbor.py")
    assert not re.search(hook["files"], "my_project/mydags/harbor.py")
    # Airflow and the implementation are in the project's own environment only.
    assert hook["language"] == "system"
