"""All the memory is counted that a task and its processes hold, wherever they went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pytest_cosmos_venv import Contender, TaskRace
from pytest_cosmos_venv.races.peak_memory import PeakMemory

Measure = Callable[[], AbstractContextManager[PeakMemory]]

MIB = 1024 * 1024
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cosmos_peak_memory reads /proc")

# Holds memory until its standard input ends: the block sees it at least once, however busy the machine is.
HOLD = "import sys; held = bytearray(int(sys.argv[1])); print(flush=True); sys.stdin.read()"
# Starts that in a session of its own, without a parent, and ends when it holds its memory.
LEAVE = f"""
import os, subprocess, sys
read, write = os.pipe()
subprocess.Popen([sys.executable, "-c", {HOLD!r}, sys.argv[1]], stdout=write, start_new_session=True)
os.read(read, 1)
"""


def run(source: str, size: int, peak: PeakMemory) -> None:
    """Run the source, and end what holds memory when the block has seen that."""
    command = [sys.executable, "-I", "-S", "-c", source, str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        wait_until_seen(peak, size)
    assert process.returncode == 0


def wait_until_seen(peak: PeakMemory, size: int) -> None:
    end = time.monotonic() + 30.0
    while peak.bytes <= size:
        assert time.monotonic() < end, f"only {peak} were seen"
        time.sleep(0.001)


def test_a_child_counts_with_the_most_it_held(cosmos_peak_memory: Measure) -> None:
    with cosmos_peak_memory() as small:
        run(HOLD, 50 * MIB, small)
    with cosmos_peak_memory() as large:
        run(HOLD, 200 * MIB, large)

    assert 50 * MIB < small.bytes < 90 * MIB
    assert 200 * MIB < large.bytes < 260 * MIB
    assert 2.2 < large.ratio_to(small) < 5
    assert str(large).startswith("2")


def test_what_has_left_its_parents_and_their_session_counts(cosmos_peak_memory: Measure) -> None:
    with cosmos_peak_memory() as peak:
        run(LEAVE, 150 * MIB, peak)

    assert peak.bytes > 150 * MIB


def test_what_inherits_the_environment_of_the_block_counts(cosmos_peak_memory: Measure) -> None:
    """Started by a server that was there before: no child, and in no session, of anything that is known."""
    source = (
        "import json, subprocess, sys; environment = json.loads(input());"
        f"subprocess.run([sys.executable, '-I', '-S', '-c', {HOLD!r}, str(100 << 20)], env=environment)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )

    with server, cosmos_peak_memory() as peak:
        assert server.stdin is not None
        server.stdin.write(json.dumps(dict(os.environ)) + "\n")
        server.stdin.flush()
        wait_until_seen(peak, 100 * MIB)

    assert peak.bytes > 100 * MIB


BEFORE = bytearray(64 * MIB) if sys.platform == "linux" else b""
"""Of every process that imports this file: what forks from it shares it."""


def hold(contender: Contender, size: int) -> None:
    held = bytearray(size)
    time.sleep(0.5)  # the block sees it at least once, together with the other's on a busy machine
    del held


def test_contenders_count_with_what_they_do_not_share(cosmos_peak_memory: Measure, cosmos_task_race: TaskRace) -> None:
    cosmos_task_race(hold, 0)  # what they fork from is there before

    with cosmos_peak_memory() as nothing:
        cosmos_task_race(hold, 0)
    with cosmos_peak_memory() as peak:
        cosmos_task_race(hold, 100 * MIB)

    assert nothing.bytes < 40 * MIB
    # What a copy fills before it is first looked at counts as copied: some milliseconds of filling.
    assert 180 * MIB < peak.bytes < 260 * MIB


def test_this_process_counts_with_what_it_grew(cosmos_peak_memory: Measure) -> None:
    with cosmos_peak_memory() as nothing:
        pass
    with cosmos_peak_memory() as peak:
        held = bytearray(120 * MIB)
        del held

    assert nothing.bytes < 20 * MIB
    assert 110 * MIB < peak.bytes < 160 * MIB  # something else may be given back meanwhile


def test_a_process_of_before_counts_when_a_dbt_reports_from_it(
    cosmos_peak_memory: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMOS_DBT_RECORD_DIR", str(tmp_path))
    source = "held = bytearray(100 << 20); print(flush=True); input()"
    warm = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert warm.stdout is not None
    warm.stdout.readline()

    with cosmos_peak_memory() as without:
        pass
    with cosmos_peak_memory() as peak:
        report_call(tmp_path, warm.pid)
    warm.communicate("\n")

    assert without.bytes < 20 * MIB
    assert peak.bytes > 100 * MIB


def report_call(record: Path, pid: int) -> None:
    """Report a call as a fake that lives on between calls would."""
    start = {
        "event": "start",
        "argv": ["dbt", "run"],
        "cwd": "/",
        "env": {},
        "pid": pid,
        "ppid": 1,
        "prefix": "/",
        "stdin": None,
    }
    line = json.dumps({**start, "dbt_version": "1.11.0", "at": time.time()})
    (record / f"{pid}.jsonl").write_text(line + "\n")
