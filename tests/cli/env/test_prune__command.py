"""The command ``cosmos-venv env prune`` as a process: what it reads of Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import AIRFLOW_2, OLDER_AIRFLOWS_3, ROOT, is_missing

PRUNE = """
import sys
sys.path.append(sys.argv[1])
from cosmos_venv.cli import main
sys.exit(main(["env", "prune", "--dry-run", sys.argv[2]]))
"""


@pytest.mark.parametrize(
    "python",
    [
        pytest.param(Path(sys.executable), id="this-airflow"),
        pytest.param(AIRFLOW_2, id="airflow-2", marks=pytest.mark.long),
        *(pytest.param(each, id=name, marks=pytest.mark.long) for name, each in OLDER_AIRFLOWS_3.items()),
    ],
)
def test_a_dry_run_reads_the_limits_of_airflow_cfg(tmp_path: Path, python: Path) -> None:
    if is_missing(python):
        pytest.skip(f"no Airflow at {python}: make test makes it")
    home = tmp_path / "airflow"
    home.mkdir()
    (home / "airflow.cfg").write_text("[cosmos_venv]\nvirtualenv_prune_max_count = -4\n")
    (tmp_path / "store").mkdir()
    environ = {**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": ""}
    command = [str(python), "-W", "ignore", "-c", PRUNE, str(ROOT), str(tmp_path / "store")]

    refused = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    (home / "airflow.cfg").write_text("[cosmos_venv]\nvirtualenv_prune_max_count = 4\n")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert "virtualenv_prune_max_count = '-4'" in refused.stderr
    assert done.returncode == 0, done.stderr
