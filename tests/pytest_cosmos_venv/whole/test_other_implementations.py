"""The toolkit serves users of another implementation, and those of Airflow 2, as it serves this project's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.installed import install_from_wheels
from tests.pytest_cosmos_venv.inner_run import BEFORE_3_13, run_pytest

pytestmark = pytest.mark.long

FOLDER = Path(__file__).resolve().parents[1] / "any_implementation"
FILE = FOLDER / "test_any_operator_installs.py"


@pytest.mark.parametrize(
    ("environment", "implementation", "airflow"),
    [
        pytest.param("cosmos", "cosmos", "3", id="cosmos-on-airflow-3"),
        pytest.param("cosmos2", "cosmos", "2", id="cosmos-on-airflow-2", marks=[BEFORE_3_13]),
        pytest.param("cosmos2", "cosmos_venv", "2", id="cosmos_venv-on-airflow-2", marks=[BEFORE_3_13]),
    ],
)
def test_operators_of_any_implementation_install_from_the_wheelhouse(
    environment: str, implementation: str, airflow: str, tmp_path: Path, cache_dir: Path
) -> None:
    options = [f"--cosmos-implementation={implementation}", f"--cosmos-cache-dir={cache_dir}"]
    done = run_pytest(environment, *options, "--tb=line", str(FILE), folder=FOLDER, cwd=tmp_path)

    print(done.stdout)
    assert done.returncode == 0
    assert "skipped" not in done.stdout
    assert re.search(rf"^cosmos: implementation {implementation}( |$)", done.stdout, re.MULTILINE)


@pytest.mark.timeout(400)
def test_a_dag_of_astronomer_cosmos_runs_on_duckdb(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_from_wheels(monkeypatch)
    options = ["--cosmos-implementation=cosmos", f"--cosmos-cache-dir={cache_dir}", "--tb=short"]

    done = run_pytest("cosmos", *options, str(FOLDER / "test_any_duckdb.py"), folder=FOLDER, cwd=tmp_path)

    print(done.stdout)
    assert done.returncode == 0
    assert "2 passed" in done.stdout
