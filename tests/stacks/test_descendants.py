from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import psutil

from tests.stacks.descendants import ended_descendants
from tests.waiting import wait_until

DETACHED = """
import os, signal
if os.fork():
    os._exit(0)
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pause()
"""


def test_a_detached_process_ends_with_a_block_that_fails_and_an_earlier_child_does_not() -> None:
    detached: list[psutil.Process] = []

    with subprocess.Popen(["sleep", "60"]) as earlier:
        with suppress(KeyError), ended_descendants() as started:
            subprocess.run([sys.executable, "-c", DETACHED], check=True)
            detached = wait_until(started.find)
            raise KeyError
        is_alive = earlier.poll() is None
        earlier.kill()

    assert is_alive
    assert [process.is_running() for process in detached] == [False]
