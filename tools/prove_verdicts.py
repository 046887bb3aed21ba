"""Does the conformance suite say the same of an implementation, every time? Whole runs, quiet and beside burners.

    .venv/bin/python -m tools.prove_verdicts [--python PYTHON] [--runs 10] [--busy-runs 10] IMPLEMENTATION

Prints a table, and each requirement whose verdict was not the same in all runs; 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conformance.report import read_report

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 3600.0
"""Seconds for one run: longer is a hang."""
_BURN = "while True: pass"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One whole run.

    :param verdicts: id -> verdict.
    :param seconds: of wall time.
    :param processor_seconds: of all its processes.
    """

    is_busy: bool
    exit_code: int
    verdicts: Mapping[str, str]
    seconds: float
    processor_seconds: float

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(self.verdicts.values()).most_common())
        beside = "beside burners" if self.is_busy else "quiet"
        taken = f"{self.seconds:>6.0f} s {self.processor_seconds:>6.0f} CPU s"
        return f"{beside:<16} exit {self.exit_code:>2} {taken}  {counts}"


def judge(python: Path, implementation: str, *, is_busy: bool, options: Sequence[str]) -> Run:
    """Run the suite once, in an empty directory."""
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder, _burners(os.cpu_count() or 1 if is_busy else 0):
        command = [str(python), "-m", "pytest", "--cosmos-conformance", f"--cosmos-implementation={implementation}"]
        started, used = time.monotonic(), _processor_seconds()
        done = subprocess.run(
            [*command, "-q", "--tb=no", "-n", "2", "--cosmos-report=out", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        file = Path(folder, "out", "report.json")
        if not file.exists():
            raise SystemExit(f"{' '.join(command)} left no report:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        report = read_report(file)
    return Run(
        is_busy=is_busy,
        exit_code=done.returncode,
        verdicts={each["id"]: each["verdict"] for each in report["requirements"]},
        seconds=time.monotonic() - started,
        processor_seconds=_processor_seconds() - used,
    )


def differences(runs: Sequence[Run]) -> dict[str, Counter[str]]:
    """Id -> verdict -> in how many runs, of those with more than one verdict."""
    ids = sorted({unique for run in runs for unique in run.verdicts})
    found = {unique: Counter(run.verdicts.get(unique, "missing") for run in runs) for unique in ids}
    return {unique: counts for unique, counts in found.items() if len(counts) > 1}


@contextmanager
def _burners(count: int) -> Iterator[None]:
    burning = [subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for each in burning:
            each.kill()
            each.wait()


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("implementation", help="as --cosmos-implementation takes it")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the implementation's environment")
    parser.add_argument("--runs", type=int, default=10, help="quiet ones (default 10)")
    parser.add_argument("--busy-runs", type=int, default=10, help="beside a burner for each processor (default 10)")
    parser.add_argument("options", nargs="*", help="of the suite, after --")
    asked = parser.parse_args(argv)
    runs: list[Run] = []
    for is_busy in [False] * asked.runs + [True] * asked.busy_runs:
        runs.append(judge(asked.python, asked.implementation, is_busy=is_busy, options=asked.options))
        print(f"{len(runs):>3}  {runs[-1]}", flush=True)
    differing = differences(runs)
    for unique, counts in differing.items():
        print(f"{unique}: " + ", ".join(f"{verdict} in {count}" for verdict, count in counts.most_common()))
    print(f"{len(runs)} runs, {len(runs[0].verdicts)} requirements, {len(differing)} with more than one verdict")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
