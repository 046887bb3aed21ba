"""Does the suite judge an implementation whole that has nothing of Cosmos's layout, and fairly? What the tiny one lacks is
known."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pytest_cosmos_venv.conformance.report import read_report

HERE = Path(__file__).parent
LACKS = {
    "CMD-015": "the error must have what dbt said last",
    "CMD-016": "env must reach dbt unchanged",
    "CMD-019": "must lead to --no-partial-parse",
    "ENV-005": "py_system_site_packages=True must decide",
    "ENV-009": "a record of level ERROR must name py_requirements",
    "ENV-010": "the error must have what the installer said",
    "ENV-013": "a set of requirements must stay installed beside another one",
    "ENV-015": "must start no installer",
    "ENV-016": "",
    "ENV-018": "the same requirements in other words must lead to the same environment",
    "ENV-024": "",
    "ENV-025": "",
    "KILL-003": "a child of dbt must end within 10 s",
    "KILL-007": "after their worker was killed by SIGKILL",
    "KILL-008": "dbt must get SIGINT first",
    "LOCK-017": "must be able to run dbt at the same moment",
    "ERR-006": "must be an error that names dbt-core=>1.10",
    "ERR-007": "must be an error that names",
}
"""Requirement that it does not keep -> words of the evidence; each is something that its program does not do."""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_command_line_of_another_shape_fails_for_what_it_lacks_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=":")

    subprocess.run(
        [sys.executable, "-m", "pytest", "--cosmos-conformance", "--cosmos-implementation=tiny.adapter:TinyAdapter"]
        + ["-n", "2", "-q", "--tb=no", "--cosmos-report=out"],
        cwd=tmp_path,
        capture_output=True,
        timeout=880,
        check=False,
    )

    found = {each["id"]: each for each in read_report(tmp_path / "out" / "report.json")["requirements"]}
    evidence = {name: "\n".join(one["evidence"]) for name, one in found.items() if one["verdict"] == "failed"}
    assert sorted(evidence) == sorted(LACKS), evidence
    assert [name for name, words in LACKS.items() if words not in evidence[name]] == []
    verdicts = Counter(one["verdict"] for one in found.values())
    assert set(verdicts) == {"passed", "failed", "not applicable"}
    assert verdicts["passed"] > 2 * verdicts["failed"]
