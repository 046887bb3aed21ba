"""Each requirement is judged by a test that can fail: the catalogue of faults is whole, and a sample is caught."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.conformance.requirements import Level, read_specification
from tests.conformance.mutants import catalogue  # noqa: F401 - registers them
from tests.conformance.mutants.mutant import MUTANTS
from tests.conformance.mutants.plugin import verdict_on

HERE = Path(__file__).parent
SAMPLE = ("AsksForDbtFirst", "PassesOverABadRequirement", "JoinsAGroupAtItsFirstTask", "ForgetsAnOperator")
MET = "LOAD-00*,ERR-00*,RENDER-012,API-001"
"""As much of their areas as a sample has to meet."""


def test_each_must_and_should_has_a_fault_that_breaks_it() -> None:
    wanted = {one.id for one in read_specification().values() if one.level in (Level.MUST, Level.SHOULD)}

    assert sorted(wanted - {cls.kills for cls in MUTANTS.values()}) == []


def test_each_fault_names_a_requirement_and_tells_its_story() -> None:
    specification = read_specification()

    assert [name for name, cls in MUTANTS.items() if cls.kills not in specification] == []
    assert [name for name, cls in MUTANTS.items() if not cls.__doc__ or "\n\n" in cls.__doc__] == []


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        pytest.param({"failed": {"LOCK-003"}}, "caught", id="by-its-own"),
        pytest.param({"failed": {"LOCK-003", "LOCK-010"}}, "ALSO LOCK-010", id="by-another-too"),
        pytest.param({"failed": {"LOCK-015"}}, "NOT CAUGHT", id="by-another-alone"),
        pytest.param({"passed": {"LOCK-003"}}, "NOT CAUGHT", id="by-none"),
        pytest.param({"failed": {"LOCK-003"}, "harness error": {"LOCK-001"}}, "HARNESS ERROR LOCK-001", id="broken"),
    ],
)
def test_a_fault_is_caught_by_its_own_requirement_alone(found: dict[str, set[str]], verdict: str) -> None:
    assert verdict_on("LOCK-003", found, read_specification()) == verdict


@pytest.mark.long
@pytest.mark.timeout(500)
def test_a_sample_of_faults_is_caught(tmp_path: Path) -> None:
    options = ["--cosmos-implementation=cosmos_venv", f"--cosmos-requirement={MET}", "-p", "mutants.plugin"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--cosmos-conformance", *options, "-q", "--tb=line"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ["PYTHONPATH"]]),
            "MUTANTS": ",".join(SAMPLE),
        },
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )

    table = [line.split() for line in done.stdout.splitlines() if line.split()[1:2] and line.split()[1] in SAMPLE]
    assert sorted((words[1], words[-1]) for words in table) == sorted((name, "caught") for name in SAMPLE), done.stdout
    assert done.returncode == 0
    assert "verdict" not in done.stdout
