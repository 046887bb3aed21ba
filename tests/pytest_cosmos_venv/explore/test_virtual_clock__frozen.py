"""The clock of explorations, where another test has had a clock of its own before."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import time
from pytest_cosmos_venv import real_time
before = {time.sleep, time.time, time.monotonic}
import freezegun
frozen = freezegun.freeze_time("2026-01-01")
frozen.start()
time.sleep = lambda seconds: None
from pytest_cosmos_venv.explore.virtual_clock import replaced_clock
assert before <= replaced_clock().keys(), replaced_clock().keys()
"""


def test_an_exploration_replaces_the_real_clock_where_it_was_imported_while_the_clock_stood() -> None:
    """It replaced the functions of freezegun, which were gone by then: contenders slept in real time for ever."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
