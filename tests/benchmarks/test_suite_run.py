"""A run of the suite by a tool: what it found, and what it said where it found nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.suite_run import ROOT, run_suite
from tests.conformance.reporting.test_report import SOUND, reported

LEAVES_A_REPORT = """#!/bin/sh
echo "$PWD $PYTHONPATH $@" > {told}
mkdir out && cp {report} out/report.json
exit 1
"""
LEAVES_NONE = """#!/bin/sh
echo "no such option"
exit 4
"""


def python_that(does: str, file: Path) -> Path:
    file.write_text(does, encoding="utf-8")
    file.chmod(0o755)
    return file


def test_a_run_is_read_from_its_report(tmp_path: Path) -> None:
    report, told, keep = (tmp_path / name for name in ("report.json", "told", "docs/kept.json"))
    report.write_text(json.dumps(reported(*SOUND)), encoding="utf-8")
    python = python_that(LEAVES_A_REPORT.format(told=told, report=report), tmp_path / "python")

    run = run_suite(python, "cosmos", "--cosmos-installer=pip", keep=keep)

    assert run.verdicts == {"LOCK-001": "passed", "LOCK-002": "failed", "SEED-001": "not applicable"}
    assert (run.exit_code, run.seconds > 0) == (1, True)
    assert keep.read_bytes() == report.read_bytes()
    where, path, *arguments = told.read_text(encoding="utf-8").split()
    assert not Path(where).exists()
    assert path == str(ROOT)
    assert arguments[:4] == ["-m", "pytest", "--cosmos-conformance", "--cosmos-implementation=cosmos"]
    assert arguments[-1] == "--cosmos-installer=pip"


def test_a_run_without_a_report_says_what_it_said(tmp_path: Path) -> None:
    python = python_that(LEAVES_NONE, tmp_path / "python")

    with pytest.raises(SystemExit, match=r"--cosmos-implementation=cosmos left no report:\nno such option"):
        run_suite(python, "cosmos")
