"""The suite's runner of commands waits for the command only, and leaves nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep  # noqa: TID251 - the time in which nobody looks is what is tested

import pytest

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


@contextmanager
def python(code: str) -> Iterator[int]:
    """The PID of a process that runs this code."""
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def test_time_in_which_nobody_looked_is_no_rest() -> None:
    looks = 0

    def is_over() -> bool:
        nonlocal looks
        looks += 1
        sleep(0.5)
        return False

    with python("import signal; signal.pause()") as pid:
        assert processes.watch_until_rest([pid], is_over, timeout=60.0, seconds=0.8)

    assert looks >= 4


def test_a_process_that_has_ended_does_not_rest() -> None:
    with python("pass") as pid:
        assert not processes.watch_until_rest([pid], lambda: False, timeout=60.0)


def test_a_process_that_vanishes_while_it_is_looked_at_was_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(_: object) -> bool:
        raise FileNotFoundError("/proc/16717/task")  # as Path.glob does, once among 700 waits for rest

    monkeypatch.setattr(processes, "_wants_to_work", vanish)
    with python("import signal; signal.pause()") as pid:
        assert not processes.watch_until_rest([pid], lambda: False, timeout=0.3, seconds=0.1)


def test_a_thread_in_the_queue_for_a_processor_is_at_work() -> None:
    one = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])"
    busy = f"{one}\nwhile True: pass"
    worker = "import threading; worker = threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True)"
    code = f"{one}; os.nice(19); {worker}; worker.start(); worker.join()"

    with (
        # With one of them, the thread got the processor often enough; with three it waits for seconds.
        python(busy),
        python(busy),
        python(busy),
        python(code) as pid,
    ):
        wait_until(lambda: len(list(Path(f"/proc/{pid}/task").iterdir())) == 2, "no thread begins")

        assert not processes.watch_until_rest([pid], lambda: False, timeout=3.0)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
