"""One run of the conformance suite by a tool, in an empty directory; its result is read from its report."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.harness import ROOT
from conformance.reporting.report import read_report
from pytest_cosmos_venv.throwaway import throwaway_folder

DEADLINE = 3600.0
"""Seconds for one run: longer is a hang."""
WORKERS = 2
"""Processes in which a run's checks lie side by side."""
_SHOWN = 3000
"""Characters of either stream that are shown of a run without a report."""


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """One run of the suite that left a report.

    :param report: as ``report.json`` has it.
    :param seconds: of wall time.
    :param processor_seconds: of all its processes.
    """

    report: Mapping[str, Any]
    exit_code: int
    seconds: float
    processor_seconds: float

    @property
    def verdicts(self) -> dict[str, str]:
        """Id -> verdict."""
        return {each["id"]: each["verdict"] for each in self.report["requirements"]}


def run_suite(
    python: Path,
    implementation: str,
    *options: str,
    keep: Path | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> SuiteRun:
    """Judge an implementation by the suite of this checkout.

    :param python: of the environment in which the implementation, pytest and Airflow are installed.
    :param implementation: as ``--cosmos-implementation`` takes it.
    :param options: of pytest and of the suite; they come after ``-n`` and ``-q``, and win over them.
    :param keep: file that the report is copied to, with the folders around it.
    :param variables: of the environment, beside those of this process.
    :raises SystemExit: it left no report; with the end of what it printed.
    :raises subprocess.TimeoutExpired: it did not end in an hour.
    """
    command = [str(python), "-m", "pytest", "--cosmos-conformance", f"--cosmos-implementation={implementation}"]
    with throwaway_folder("suite-") as folder:
        started, used = time.monotonic(), _processor_seconds()
        done = subprocess.run(
            [*command, "-n", str(WORKERS), "-q", "--tb=no", "--cosmos-report=out", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        file = Path(folder, "out", "report.json")
        if not file.exists():
            raise SystemExit(f"{' '.join(command)} left no report:\n{done.stdout[-_SHOWN:]}{done.stderr[-_SHOWN:]}")
        report = read_report(file)
        if keep is not None:
            keep.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, keep)
    return SuiteRun(
        report=report,
        exit_code=done.returncode,
        seconds=time.monotonic() - started,
        processor_seconds=_processor_seconds() - used,
    )


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
