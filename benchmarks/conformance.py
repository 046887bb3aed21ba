"""Benchmark of the conformance suite judging cosmos-venv, beside bare environments. Prints a table and stores it.

    .venv/bin/python -m benchmarks.conformance [--rounds 3]

A check spends most of its time on making environments. So its time in one process is judged as a multiple of the time
that a bare environment takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from benchmarks.harness import Bench, Row, main, wall_seconds
from benchmarks.suite_run import WORKERS, SuiteRun, run_suite
from conformance.harness.harness import install_commands
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse

BOUNDS = {"uv": 9.8, "pip": 0.3}
"""The most that a check may take in one process, in times of a bare environment, by the installer.

That is 90 and 180 s for 218 checks where a bare environment takes 0.084 and 5.6 s. As a ratio: a machine on which uv
takes 0.112 s needs 121 s.
"""
BARE_ROUNDS = 3
"""Environments before each run, and after it."""


def whole_runs(bench: Bench) -> list[Row]:
    """Whole runs with both installers in turns."""
    wheelhouse = build_wheelhouse(bench.folder / "wheelhouse")
    runs: dict[str, list[SuiteRun]] = {installer: [] for installer in BOUNDS}
    bare: dict[str, list[float]] = {installer: [] for installer in BOUNDS}
    for _ in range(bench.rounds):
        for installer in BOUNDS:
            bare[installer] += [bare_environment(installer, wheelhouse, bench.folder) for _ in range(BARE_ROUNDS)]
            runs[installer].append(run_suite(Path(sys.executable), "cosmos_venv", f"--cosmos-installer={installer}"))
            bare[installer] += [bare_environment(installer, wheelhouse, bench.folder) for _ in range(BARE_ROUNDS)]
    rows = []
    for installer, bound in BOUNDS.items():
        # One check is a test: some requirements have several.
        checks = max(sum(len(each["tests"]) for each in run.report["requirements"]) for run in runs[installer])
        seconds, least = min(run.seconds for run in runs[installer]), min(bare[installer])
        figures = (
            f"{seconds:.1f} s, processor {min(run.processor_seconds for run in runs[installer]):.1f} s, for {checks} "
            f"checks; one bare environment {least:.3f} s"
        )
        # A run that breaks off is quick too.
        is_sound = not any(run.exit_code for run in runs[installer])
        judged = seconds * WORKERS / checks / least if is_sound else float("inf")
        rows.append(Row(f"a whole run with {installer}", figures, judged, bound, "bare environments a check"))
    return rows


def bare_environment(installer: str, wheelhouse: Wheelhouse, folder: Path) -> float:
    """Seconds that the bare commands take for one environment, and its dbt for one call."""
    environment = folder / f"environment-{len(list(folder.iterdir()))}"
    variables = {**os.environ, **wheelhouse.environment}
    uv = find_uv_bin() if installer == "uv" else None
    commands = [*install_commands(environment, wheelhouse, uv), [str(environment / "bin" / "dbt"), "--version"]]

    def run_all() -> None:
        for command in commands:
            subprocess.run(command, env=variables, check=True, stdin=subprocess.DEVNULL, capture_output=True)

    return wall_seconds(run_all)


if __name__ == "__main__":
    how = f"Wall time, the least of {{rounds}} runs with {WORKERS} processes; by uv and by pip in turns."
    title = "What a run of the conformance suite takes"
    sys.exit(main("conformance", title, {"runs": whole_runs}, rounds=3, how=how, description=__doc__))
