"""What is said of several runs of the suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.suite_run import SuiteRun
from tools import prove_verdicts
from tools.prove_verdicts import differences, rounds


def run_of(verdict: str, evidence: Sequence[str]) -> SuiteRun:
    """A run that judged one race, and something else."""
    race = {"id": "LOCK-002", "verdict": verdict, "evidence": evidence}
    other = {"id": "LOCK-003", "verdict": "passed", "evidence": []}
    return SuiteRun(report={"requirements": [race, other]}, exit_code=1, seconds=1.0, processor_seconds=1.0)


LOST = run_of("failed", ["two at once; seen in 1 of 14 rounds of 8 tasks: process 1", "seen: process 2 too"])
PROVOKED_ALONE = run_of("failed", ["seen: process 2 too"])
WON = run_of("passed", ["two installers at once were seen in 0 of 25 rounds of 8 tasks"])


def test_of_each_race_the_rounds_are_told_run_by_run() -> None:
    assert rounds([LOST, PROVOKED_ALONE, WON]) == {"LOCK-002": ["1 of 14", "none", "0 of 25"]}


def test_a_verdict_that_is_not_the_same_in_all_runs_is_told() -> None:
    assert differences([LOST, PROVOKED_ALONE]) == {}
    assert differences([LOST, WON]) == {"LOCK-002": {"failed": 1, "passed": 1}}


def test_a_python_is_named_from_here_whatever_the_folder_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def judge(python: Path, *_: object, **__: object) -> SuiteRun:
        asked.append(python)
        return WON

    monkeypatch.setattr(prove_verdicts, "judge", judge)

    prove_verdicts.main(["--python", ".venv/bin/python", "--runs", "1", "--busy-runs", "0", "cosmos"])

    assert asked == [Path.cwd() / ".venv" / "bin" / "python"]


def test_the_report_of_each_run_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Path] = []

    def judge(*_: object, keep: Path, **__: object) -> SuiteRun:
        kept.append(keep)
        return WON

    monkeypatch.setattr(prove_verdicts, "judge", judge)

    prove_verdicts.main(["--runs", "1", "--busy-runs", "1", "--keep", str(tmp_path), "cosmos"])

    assert kept == [tmp_path / "1.json", tmp_path / "2.json"]
