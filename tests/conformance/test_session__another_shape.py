"""The suite judges an implementation that has nothing of Cosmos's layout whole and fairly: what it lacks is known."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.suite_run import run_suite
from tests.environments.elsewhere import require_namespaces

HERE = Path(__file__).parent
LACKS = {
    "CMD-015": "the error must have what dbt said last",
    "CMD-016": "env must reach dbt unchanged",
    "CMD-019": "must lead to --no-partial-parse",
    "ENV-005": "py_system_site_packages=True must decide",
    "ENV-009": "a record of level ERROR must name py_requirements",
    "ENV-010": "the error must have what the installer said",
    "ENV-013": "a set of requirements must stay installed beside another one",
    "ENV-016": "the error must name the virtualenv_dir",
    "ENV-018": "the same requirements in other words must lead to the same environment",
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
def test_a_command_line_of_another_shape_fails_for_what_it_lacks_and_nothing_else() -> None:
    require_namespaces()
    path = os.pathsep.join([str(HERE), os.environ["PYTHONPATH"]])

    run = run_suite(Path(sys.executable), "tiny.adapter:TinyAdapter", variables={"PYTHONPATH": path})

    found = {each["id"]: each for each in run.report["requirements"]}
    evidence = {name: "\n".join(one["evidence"]) for name, one in found.items() if one["verdict"] == "failed"}
    assert sorted(evidence) == sorted(LACKS), evidence
    assert [name for name, words in LACKS.items() if words not in evidence[name]] == []
    verdicts = Counter(run.verdicts.values())
    assert set(verdicts) == {"passed", "failed", "not applicable"}
    assert verdicts["passed"] > 2 * verdicts["failed"]
