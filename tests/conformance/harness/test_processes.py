"""The suite's runner of commands waits for the command only, and leaves nothing of it."""

from __future__ import annotations

import sys
from pathlib import Path

from conformance.harness import processes
from tests.waiting import wait_until

LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid)
"""


def test_output_and_exit_code_come_back(tmp_path: Path) -> None:
    code = "import os, sys; print('out', flush=True); print(os.environ['ADDED'], file=sys.stderr); sys.exit(3)"

    finished = processes.run([sys.executable, "-c", code], environment={"ADDED": "err"}, cwd=tmp_path)

    assert finished.exit_code == 3
    assert not finished.succeeded
    assert finished.output == "out\nerr\n"
    assert "exit code 3; its output:\nout\nerr" in str(finished)


def test_what_a_command_leaves_running_is_neither_waited_for_nor_left(tmp_path: Path) -> None:
    finished = processes.run([sys.executable, "-c", LEAVES_A_CHILD], cwd=tmp_path)

    assert finished.succeeded
    wait_until(lambda: not is_running(int(finished.output)), "the process goes on")


def test_a_command_that_does_not_end_is_killed_at_the_deadline(tmp_path: Path) -> None:
    finished = processes.run([sys.executable, "-c", "import signal; signal.pause()"], cwd=tmp_path, timeout=0.1)

    assert finished.exit_code is None
    assert "no end before the timeout, killed" in str(finished)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
