"""Benchmark of a whole run of the conformance suite against this implementation. Prints a table and stores it.

    .venv/bin/python -m benchmarks.conformance [--rounds 3]

Wall time, as whoever waits for it has it. Beside each run stands what its installer takes for one environment: made,
filled with the fake dbt, its dbt started once, by the bare commands. Both are measured turn by turn, so that a
busy machine is busy for both, and the least of the rounds counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from benchmarks.storing import MACHINE, store
from benchmarks.suite_run import WORKERS, SuiteRun, run_suite
from conformance.harness.harness import install_commands
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.throwaway import throwaway_folder

BOUNDS = {"uv": 9.8, "pip": 0.3}
"""Bare environments in whose time one process may make a check, by the installer.

That is 90 and 180 s for 218 checks where a bare environment takes 0.084 and 5.6 s. As a ratio: a machine on which uv
takes 0.112 s needs 121 s.
"""
BARE_ROUNDS = 3
"""Environments before each run, and after it."""


@dataclass(kw_only=True)
class Row:
    """One line of the table; times in seconds.

    :param runs: whole runs.
    :param bare: environments, made by the bare commands.
    """

    installer: str
    runs: list[SuiteRun] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return min(run.seconds for run in self.runs)

    @property
    def checks(self) -> int:
        """One check is a test: some requirements have several."""
        return max(sum(len(each["tests"]) for each in run.report["requirements"]) for run in self.runs)

    @property
    def bare_environments_a_check(self) -> float:
        return self.seconds * WORKERS / self.checks / min(self.bare)

    @property
    def is_kept(self) -> bool:
        """Whether it is as quick as promised, and what was judged is sound: a run that breaks off is quick too."""
        is_quick = self.bare_environments_a_check <= BOUNDS[self.installer]
        return is_quick and not any(run.exit_code for run in self.runs)

    def as_dict(self) -> dict[str, Any]:
        """The row as it is stored."""
        return {
            "installer": self.installer,
            "seconds": round(self.seconds, 1),
            "seconds_of_all_runs": [round(run.seconds, 1) for run in self.runs],
            "processor_seconds": round(min(run.processor_seconds for run in self.runs), 1),
            "exit_codes": [run.exit_code for run in self.runs],
            "checks": self.checks,
            "bare_environment_seconds": round(min(self.bare), 3),
            "bare_environments_a_check": round(self.bare_environments_a_check, 2),
            "bound": BOUNDS[self.installer],
            "is_kept": self.is_kept,
        }


def measure(rounds: int) -> list[Row]:
    """Both installers in turns."""
    rows = [Row(installer=installer) for installer in BOUNDS]
    with throwaway_folder("cosmos-benchmark-") as folder:
        wheelhouse = build_wheelhouse(folder / "wheelhouse")
        for _ in range(rounds):
            for row in rows:
                row.bare += bare_environments(row.installer, wheelhouse, folder)
                row.runs.append(run_suite(Path(sys.executable), "cosmos_venv", f"--cosmos-installer={row.installer}"))
                row.bare += bare_environments(row.installer, wheelhouse, folder)
    return rows


def bare_environments(installer: str, wheelhouse: Wheelhouse, folder: Path) -> list[float]:
    """Seconds for each of a few, one after the other."""
    uv = find_uv_bin() if installer == "uv" else None
    variables = {**os.environ, **wheelhouse.environment}
    taken = []
    for _ in range(BARE_ROUNDS):
        environment = folder / "environment"
        started = time.perf_counter()
        for command in install_commands(environment, wheelhouse, uv):
            run(command, variables)
        run([str(environment / "bin" / "dbt"), "--version"], variables)
        taken.append(time.perf_counter() - started)
        shutil.rmtree(environment)
    return taken


def run(command: list[str], variables: Mapping[str, str]) -> None:
    """Run the command to its end and drop its output."""
    subprocess.run(command, env=variables, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def table(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "| installer | whole run, s | processor, s | one bare environment, s | such for a check | promised |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in map(Row.as_dict, rows):
        kept = "kept" if row["is_kept"] else "NOT KEPT"
        lines.append(
            f"| {row['installer']} | {row['seconds']} | {row['processor_seconds']} | "
            f"{row['bare_environment_seconds']} | {row['bare_environments_a_check']} (of {row['checks']} checks) | "
            f"at most {row['bound']} of them: {kept} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="whole runs with each installer (default 3)")
    rounds: int = parser.parse_args().rounds
    rows = measure(rounds)
    how = f"Wall time, the least of {rounds} runs with {WORKERS} processes; by uv and by pip in turns."
    text = f"# What a run of the conformance suite takes\n\n{MACHINE}. {how}\n\n{table(rows)}\n"
    print(text)
    store("conformance", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
