"""Run each file of long tests again and again, and keep each run in .ci/repetitions.jsonl.

    python -m tools.repeat_tests --minutes 60     the file with the fewest runs first, as long as the time lasts
    python -m tools.repeat_tests --summary        how often each file has run, and each test that has failed

A file runs five times; 20 times where its tests start an Airflow, or where a test of the file was once red by chance.
Three busy processes run beside the tests: most tests that fail by chance fail on a busy machine. The command goes on
where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

from tools.long_tests import ROOT, failures_of, has_long_tests, workers_of

LOG = ROOT / ".ci" / "repetitions.jsonl"
TIMES, TIMES_OF_THE_SUSPECTED = 5, 20
SUSPECTED = (
    # They start an Airflow.
    "tests/stacks/",
    "tests/conformance/harness/test_served_airflow.py",
    "tests/conformance/test_session__servers.py",
    "tests/plugin/test_airflow_plugin__real_airflow.py",
    # CI was once red by them.
    "tests/cli/env/test_lock__command.py",
    "tests/conformance/test_session.py",
    "tests/dbt/warm/test_process__killed.py",
    "tests/dbt/warm/test_process__same_as_plain.py",
    "tests/environments/test_lock__explored.py",
    "tests/environments/test_remote_store__",
    "tests/operators/test_watcher__",
    "tests/pytest_cosmos_venv/runs/test_running__at_once.py",
    "tests/whole/test_dbt_versions",
    "tests/whole/test_real_seeds.py",
)
"""Beginnings of paths."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """One run of the long tests of a file.

    :param file: path below the checkout.
    :param commit: of the checkout.
    :param day: ISO date.
    :param seconds: the time that the run took.
    :param load: mean number of processes that wanted a core, over the last minute of the run.
    :param failures: ids of the tests that failed.
    """

    file: str
    commit: str
    day: str
    seconds: int
    load: float
    failures: Sequence[str]


def files() -> list[str]:
    """The test files that have a long test, by path below the checkout."""
    found = (path for path in (ROOT / "tests").rglob("test_*.py") if has_long_tests(path))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def times(file: str) -> int:
    """How often a file is to run."""
    return TIMES_OF_THE_SUSPECTED if file.startswith(SUSPECTED) else TIMES


def repetitions() -> list[Repetition]:
    """The runs of the log."""
    lines = LOG.read_text(encoding="utf-8").splitlines() if LOG.exists() else ()
    return [Repetition(**json.loads(line)) for line in lines]


def left(known: list[Repetition], listed: list[str]) -> list[str]:
    """The files that have to run again, those with the smallest part of their runs first."""
    ran = Counter(each.file for each in known)
    return sorted((file for file in listed if ran[file] < times(file)), key=lambda file: ran[file] / times(file))


def run(file: str, seconds: float) -> Repetition | None:
    """Run the long tests of a file.

    :param seconds: the time that the run may take.
    :returns: None when the time ended before the tests did.
    """
    report = ROOT / "build" / "long-tests" / "repetitions.xml"
    began = time.monotonic()
    failures = failures_of(["-m", "long", *workers_of(file), file], report, seconds)
    if failures is None:
        return None
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Repetition(
        file=file,
        commit=commit[:8],
        day=datetime.now(tz=timezone.utc).date().isoformat(),
        seconds=round(time.monotonic() - began),
        load=round(os.getloadavg()[0], 1),
        failures=failures,
    )


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep processes busy until the block ends."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> int:
    """Run files until the time is over.

    :returns: 1 where a test of the log has failed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--busy", type=int, default=3, help="number of busy processes beside the tests")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    options = parser.parse_args()
    listed, deadline = files(), time.monotonic() + options.minutes * 60
    if not options.summary:
        with busy(options.busy):
            while (waiting := left(repetitions(), listed)) and (seconds := deadline - time.monotonic()) > 0:
                ended = run(waiting[0], seconds)
                if ended is None:
                    break
                with LOG.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(asdict(ended)) + "\n")
    known = [each for each in repetitions() if each.file in listed]
    ran = Counter(each.file for each in known)
    done = sum(ran[file] >= times(file) for file in listed)
    wanted = sum(map(times, listed))
    print(f"{done} of {len(listed)} files have run as often as they are to; {len(known)} of {wanted} runs")
    failed = [(each, failure) for each in known for failure in each.failures]
    for each, failure in failed:
        print(f"{each.day} {each.commit} (load {each.load}): {failure}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
