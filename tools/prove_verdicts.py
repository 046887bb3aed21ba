"""A proof that the conformance suite gives one verdict every time: whole runs, on a quiet machine and on a busy one.

    .venv/bin/python -m tools.prove_verdicts [--python PYTHON] [--runs 10] [--busy-runs 10] [--keep FOLDER] NAME

Prints a table, each requirement whose verdict was not the same in all runs, and of each race in how many free rounds of
each run it was lost; 1 where a verdict differs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.suite_run import SuiteRun, run_suite

_BURN = "while True: pass"
_ROUNDS = re.compile(r"in (\d+ of \d+) rounds")


def judge(
    python: Path, implementation: str, *, is_busy: bool, options: Sequence[str], keep: Path | None = None
) -> SuiteRun:
    """Run the suite once; ``keep`` is the file for its report."""
    with _burners(os.cpu_count() or 1 if is_busy else 0):
        return run_suite(python, implementation, *options, keep=keep)


def in_words(run: SuiteRun, *, is_busy: bool) -> str:
    """One line of the table."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(run.verdicts.values()).most_common())
    beside = "beside burners" if is_busy else "quiet"
    taken = f"{run.seconds:>6.0f} s {run.processor_seconds:>6.0f} CPU s"
    return f"{beside:<16} exit {run.exit_code:>2} {taken}  {counts}"


def differences(runs: Sequence[SuiteRun]) -> dict[str, Counter[str]]:
    """Id -> verdict -> in how many runs, of those with more than one verdict."""
    ids = sorted({unique for run in runs for unique in run.verdicts})
    found = {unique: Counter(run.verdicts.get(unique, "missing") for run in runs) for unique in ids}
    return {unique: counts for unique, counts in found.items() if len(counts) > 1}


def rounds(runs: Sequence[SuiteRun]) -> dict[str, list[str]]:
    """Id -> of each run the rounds of its race, such as ``1 of 14``: a race ends with the first that was lost.

    ``none`` where the run tells of no round: a provoked race was lost, and all of the free ones were won.
    """
    found = [{each["id"]: _rounds_in(each["evidence"]) for each in run.report["requirements"]} for run in runs]
    races = sorted({unique for told in found for unique, text in told.items() if text})
    return {unique: [told.get(unique) or "none" for told in found] for unique in races}


def _rounds_in(evidence: Sequence[str]) -> str:
    return ", ".join(match[1] for text in evidence for match in _ROUNDS.finditer(text))


@contextmanager
def _burners(count: int) -> Iterator[None]:
    burning = [subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for each in burning:
            each.kill()
            each.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("implementation", help="as --cosmos-implementation takes it")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the implementation's environment")
    parser.add_argument("--runs", type=int, default=10, help="quiet ones (default 10)")
    parser.add_argument("--busy-runs", type=int, default=10, help="beside a burner for each processor (default 10)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the report of each run: 1.json, 2.json")
    parser.add_argument("options", nargs="*", help="of the suite, after --")
    asked = parser.parse_args(argv)
    python = asked.python.absolute()
    runs: list[SuiteRun] = []
    for number, is_busy in enumerate([False] * asked.runs + [True] * asked.busy_runs, start=1):
        keep = asked.keep and asked.keep.absolute() / f"{number}.json"
        runs.append(judge(python, asked.implementation, is_busy=is_busy, options=asked.options, keep=keep))
        print(f"{len(runs):>3}  {in_words(runs[-1], is_busy=is_busy)}", flush=True)
    differing = differences(runs)
    for unique, counts in differing.items():
        print(f"{unique}: " + ", ".join(f"{verdict} in {count}" for verdict, count in counts.most_common()))
    for unique, told in rounds(runs).items():
        print(f"{unique}: free rounds that were lost, by run: {'; '.join(told)}")
    print(f"{len(runs)} runs, {len(runs[0].verdicts)} requirements, {len(differing)} with more than one verdict")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
