"""The toolkit serves users of another implementation, and those of Airflow 2, as it serves this project's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.shared_folders import SharedFolders

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(__file__).resolve().parents[1] / "any_implementation"
FILE = FOLDER / "test_any_operator_installs.py"
ENVIRONMENTS = ROOT / ".cache" / "envs"
DEADLINE = 280.0

BEFORE_3_13 = pytest.mark.skipif(sys.version_info >= (3, 13), reason="Airflow 2.11 is for Python 3.10 to 3.12")


@pytest.fixture
def cache_dir(request: pytest.FixtureRequest) -> Path:
    """That of this run, so that Airflow's database is made once for each Airflow and kept."""
    shared: SharedFolders = request.getfixturevalue("_cosmos_shared")
    return shared.root


@pytest.mark.parametrize(
    ("environment", "implementation", "airflow"),
    [
        pytest.param("cosmos", "cosmos", "3", id="cosmos-on-airflow-3"),
        pytest.param("cosmos2", "cosmos", "2", id="cosmos-on-airflow-2", marks=BEFORE_3_13),
        pytest.param("cosmos2", "cosmos_venv", "2", id="cosmos_venv-on-airflow-2", marks=BEFORE_3_13),
    ],
)
def test_operators_of_any_implementation_install_from_the_wheelhouse(
    environment: str, implementation: str, airflow: str, tmp_path: Path, cache_dir: Path
) -> None:
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no environment at .cache/envs/{environment}: make test makes it")

    options = [f"--cosmos-implementation={implementation}", f"--cosmos-cache-dir={cache_dir}"]
    done = run_pytest(python, *options, str(FILE), cwd=tmp_path)

    print(done.stdout)
    assert done.returncode == 0
    assert "skipped" not in done.stdout
    assert re.search(rf"^cosmos: implementation {implementation}( |$)", done.stdout, re.MULTILINE)
    assert f"-airflow-{airflow}." in run_pytest(python, "--cosmos-cache-key", cwd=tmp_path).stdout


def run_pytest(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest as a project without any configuration would, with an Airflow home that the toolkit makes."""
    left_behind = ("AIRFLOW", "COV_", "PYTEST_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_behind)}
    options = ["-c", os.devnull, f"--rootdir={FOLDER}", f"--confcutdir={FOLDER}", "-p", "no:cacheprovider", "--tb=line"]
    return subprocess.run(
        [str(python), "-W", "ignore", "-m", "pytest", *options, f"--basetemp={cwd / 'inner'}", *arguments],
        cwd=cwd,
        env={**kept, "DO_NOT_TRACK": "1"},  # astronomer-cosmos would report each run to its makers
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
