"""All the memory is counted that a task and its processes hold, wherever they went."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from pytest_cosmos_venv.races.peak_memory import PeakMemory
from tests.waiting import wait_until

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
    wait_until(lambda: peak.bytes > size, lambda: f"only {peak} were seen")


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
