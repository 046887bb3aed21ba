"""The suite judges implementations that have nothing of Cosmos's layout whole and fairly: what they lack is known."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.suite_run import run_suite
from tests.environments.elsewhere import require_namespaces

HERE = Path(__file__).parent
TINY_LACKS = {
    "CMD-015": "the error must have what dbt said last",
    "CMD-016": "env must reach dbt unchanged",
    "ENV-009": "a record of level ERROR, or the error of the task, must name py_requirements",
    "ENV-010": "the error must have what the installer said",
    "ENV-013": "a set of requirements must stay installed beside another one",
    "ENV-016": "the error must name the virtualenv_dir",
    "ENV-018": "requirements in other words must lead to",
    "KILL-003": "a child of dbt must have ended 10 s",
    "KILL-007": "was killed by SIGKILL",
    "KILL-008": "dbt must get SIGINT first",
    "LOCK-017": "must be able to run dbt at the same moment",
    "ERR-006": "must be an error that names dbt-core=>1.10",
    "ERR-007": "must be an error that names",
}
"""Requirement that it does not keep -> words of the evidence; each is something that its program does not do."""
PLAIN_AIRFLOW_LACKS = {
    "CMD-015": "the error must have what dbt said last",
    "CMD-020": "dbt must find nothing on its standard input",
    "CMD-022": "the error must name the failed node",
    "CMD-023": "a task whose dbt does not have source freshness",
    "ENV-003": "must be gone 10 s after a kill while dbt runs",
    "ENV-009": "a record of level ERROR, or the error of the task, must name py_requirements",
    "ENV-010": "the error must have what the installer said",
    "ENV-018": "requirements in other words must lead to",
    "ENV-021": "PYTHONPATH and PYTHONHOME of the worker must not reach",
    "ENV-024": "Read-only file system",
    "ENV-030": "<virtualenv_dir>/bin/dbt --version must exit with 0",
    "KILL-002": "dbt must have ended 10 s",
    "KILL-003": "a child of dbt must have ended 10 s",
    "KILL-004": "must have ended 5 s after its task was told to end",
    "KILL-006": "an installer must have ended 10 s after its task was told to end",
    "KILL-007": "was killed by SIGKILL",
    "KILL-008": "dbt must get SIGINT first",
    "KILL-010": "a native dbt and its child must have ended 10 s",
    "SEC-003": "no log must hold the credentials of an index",
}
"""The same of Airflow's own PythonVirtualenvOperator."""
TOY_LACKS = {name: TINY_LACKS[name] for name in ("ENV-013", "ENV-016", "ENV-018", "LOCK-017")}
"""The same of a program in an environment of its own."""


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("adapter", "installer", "lacks"),
    [
        pytest.param("tiny.adapter:TinyAdapter", "pip", TINY_LACKS, id="tiny"),
        pytest.param("plain_airflow.adapter:PlainAirflowAdapter", "uv", PLAIN_AIRFLOW_LACKS, id="plain-airflow"),
        pytest.param("toy.adapter:ToyAdapter", "uv", TOY_LACKS, id="toy"),
    ],
)
def test_an_implementation_of_another_shape_fails_for_what_it_lacks_and_nothing_else(
    adapter: str, installer: str, lacks: Mapping[str, str], tmp_path: Path
) -> None:
    require_namespaces()
    python = tmp_path / "own" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(python.parents[1])], check=True)
    assert subprocess.run([str(python), "-I", "-c", "import pytest"], check=False).returncode == 1
    if adapter.startswith("plain_airflow."):
        pytest.importorskip("airflow.providers.standard", reason="Airflow 3 has the operator there")
    path = os.pathsep.join([str(HERE), os.environ["PYTHONPATH"]])

    options = [f"--cosmos-installer={installer}", "--cosmos-profiles=core"]
    run = run_suite(Path(sys.executable), adapter, *options, variables={"PYTHONPATH": path, "TOY_PYTHON": str(python)})

    found = {each["id"]: each for each in run.report["requirements"]}
    evidence = {name: "\n".join(one["evidence"]) for name, one in found.items() if one["verdict"] == "failed"}
    broken = {name: one["evidence"] for name, one in found.items() if one["verdict"] == "harness error"}
    assert broken == {}
    assert sorted(evidence) == sorted(lacks), evidence
    assert [name for name, words in lacks.items() if words not in evidence[name]] == []
    verdicts = Counter(run.verdicts.values())
    assert set(verdicts) == {"passed", "failed", "not applicable"}
    assert verdicts["passed"] > verdicts["failed"]
