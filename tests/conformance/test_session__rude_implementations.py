"""The suite comes to its end with a verdict, whatever an implementation does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from conformance.reporting.report import read_report

HERE = Path(__file__).parent
FAILED, HARNESS_ERROR = "failed", "harness error"
REQUIRED = {
    "CMD-001": (FAILED, "in wait_for_ever"),
    "CMD-002": (FAILED, "the tide is too high"),
    "CMD-003": (FAILED, "killed by SIGKILL"),
    "CMD-004": (FAILED, "something has killed it"),
    "CMD-005": (FAILED, "the process ended by itself with 0 before it answered"),
    "CMD-006": ("passed", ""),
    # An adapter is the suite's word for an implementation: where it is wrong, nothing is said of that.
    "CMD-007": (HARNESS_ERROR, "RudeAdapter.perform must return an Outcome, not function."),
    "CMD-008": (FAILED, "must run dbt run-operation, once"),
    "CMD-009": (FAILED, "something has killed it"),
}
"""Requirement, each met by another misbehaviour -> its verdict, and words of the evidence."""


@pytest.mark.long
@pytest.mark.timeout(700)
def test_each_misbehaviour_has_its_verdict_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    found = judged(tmp_path)

    verdicts = {unique: found[unique]["verdict"] for unique in REQUIRED}
    evidence = {unique: "\n".join(found[unique]["evidence"]) for unique in REQUIRED}
    assert verdicts == {unique: verdict for unique, (verdict, _) in REQUIRED.items()}, evidence["CMD-006"]
    for unique, (_, words) in REQUIRED.items():
        assert words in evidence[unique], unique
        assert len(evidence[unique]) < 20_000
    assert found["CMD-001"]["again"].endswith(
        "--cosmos-implementation=tiny.rude:RudeAdapter --cosmos-requirement=CMD-001 --cosmos-timeout=150"
    )
    assert [each for each in psutil.process_iter() if str(tmp_path) in _path_of(each)] == []  # noqa: TID251 - the path of this test's folder marks them


def judged(folder: Path) -> dict[str, Any]:
    """Return what the report says of each requirement."""
    options = ["--cosmos-implementation=tiny.rude:RudeAdapter", "--cosmos-requirement=CMD-00*", "--cosmos-timeout=150"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--cosmos-conformance", *options, "--cosmos-report=out", "-q"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(folder), os.environ["PYTHONPATH"]])},
        capture_output=True,
        timeout=680,
        check=False,
    )
    # Of eight failures, one of them the suite's own and one with 28 MB of output.
    assert len(done.stdout) + len(done.stderr) < 20_000
    assert b"FAILURES" not in done.stdout
    return {each["id"]: each for each in read_report(folder / "out" / "report.json")["requirements"]}


def _path_of(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("PYTHONPATH", ""))
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
