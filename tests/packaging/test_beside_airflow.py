"""Our distributions install beside Airflow without moving any version of it.

Airflow is installed under constraints; what an operator of Airflow gets when he adds us under the same constraints is
tried on a copy of a plain Airflow environment, with a freeze of it as the constraints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.installed import ENVIRONMENTS, WHEELS
from tests.packaging.distributions import OFFLINE, Distribution, copy_environment, require, run, uv


@pytest.mark.long
@pytest.mark.parametrize(
    "airflow",
    [
        pytest.param(
            "airflow2",
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="Airflow 2 has no release for Python 3.13"),
        ),
        "airflow3",
    ],
)
def test_both_wheels_install_beside_airflow_and_move_no_version(
    airflow: str, product: Distribution, toolkit: Distribution, tmp_path: Path
) -> None:
    original = ENVIRONMENTS / airflow
    require(original / "bin" / "python", reason="a plain Airflow")
    require(WHEELS, reason="the wheels that our distributions need beyond Airflow's")
    python = str(copy_environment(original, tmp_path / "environment"))
    before = freeze(python)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(before), encoding="utf-8")

    wheels = [str(distribution.wheel) for distribution in (product, toolkit)]
    run(uv("pip", "install", "--python", python, *OFFLINE, "--constraint", str(constraints), *wheels))

    after = freeze(python)
    assert before <= after, f"moved or removed: {sorted(before - after)}"
    run(uv("pip", "check", "--python", python))
    home = {"AIRFLOW_HOME": str(tmp_path / "airflow")}
    run([python, "-c", "from cosmos_venv import DbtDag, ProjectConfig"], cwd=tmp_path, env=home)
    suite = run([python, "-m", "pytest", "--cosmos-conformance", "--collect-only"], cwd=tmp_path, env=home)
    assert "implementation: cosmos_venv " in suite
    assert "test_one_operator_runs_to_its_end" in suite


def freeze(python: str) -> set[str]:
    """The installed distributions, as ``name==version`` lines; our own, installed from files, read otherwise."""
    return set(run(uv("pip", "freeze", "--python", python)).splitlines())
