"""A guard gets its command when it has been started, or later: what it makes of it, and when it ends without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import StartedGuard, run_guarded, started_ahead
from tests.waiting import DEADLINE


def children() -> set[int]:
    """The children of this process; other tests may have left some for later ones."""
    return {child.pid for child in psutil.Process().children()}


def test_the_first_command_finds_its_guard_started_and_one_that_is_not_used_ends() -> None:
    before = children()
    with started_ahead():
        waiting = children() - before
        used = [int(run_guarded(["sh", "-c", "echo $PPID"]).lines[0]) for _ in range(2)]
    with started_ahead():
        pass
    with started_ahead(False):
        not_started = children()

    assert len(waiting) == 1
    assert used[:1] == [*waiting]
    assert used[1] not in waiting
    assert (not_started, children()) == (before, before)


def test_a_guard_that_was_started_ahead_runs_a_command_as_any_other(tmp_path: Path) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    code = "import os, sys; print(sys.argv[1:], os.environ.get('PIER'), os.getcwd(), os.environ.get('HOME'))"
    with started_ahead():
        os.environ["PIER"] = "set after the guard was started"
        try:
            inherited = run_guarded(
                [sys.executable, "-c", code, "", "two words", "\udcff"], cwd=tmp_path, keep_open=[file]
            )
        finally:
            del os.environ["PIER"]
    given = run_guarded([sys.executable, "-c", code], env={"PIER": "north=1\n2", "PATH": os.defpath})
    os.close(file)

    home = os.environ.get("HOME")
    shown = "['', 'two words', '\\udcff'] set after the guard was started"
    assert inherited.lines == [f"{shown} {tmp_path} {home}"]
    assert given.lines == ["[] north=1", f"2 {Path.cwd()} None"]


def test_a_word_that_no_command_can_hold_is_refused_and_nothing_stays() -> None:
    before = children()

    with pytest.raises(ValueError, match="embedded null byte"):
        run_guarded(["echo", "a\0b"])

    assert children() == before


WAITING = """
import os, sys, psutil
from cosmos_venv.processes.guarded_process import started_ahead
with started_ahead():
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    if os.fork() == 0:  # it inherits the connection to the guard, and outlives the worker
        sys.stdin.read()
        os._exit(0)
    sys.stdin.read()
"""


@pytest.mark.parametrize("forked_too", [True, False])
def test_a_guard_without_a_command_ends_with_its_worker(forked_too: bool) -> None:
    program = WAITING if forked_too else WAITING.replace("os.fork() == 0", "False")
    worker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdin is not None
    waiting = psutil.Process(int(worker.stdout.readline()))

    worker.kill()
    worker.wait()

    waiting.wait(DEADLINE)
    worker.stdin.close()
    worker.stdout.close()


def test_a_stop_while_the_order_is_given_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    cancellation = Cancellation()
    order = StartedGuard.order

    def interrupted(self: StartedGuard, *args: Any, **options: Any) -> None:
        order(self, *args, **options)
        cancellation.request()  # as a signal's handler does

    monkeypatch.setattr(StartedGuard, "order", interrupted)

    with pytest.raises(CommandKilled):
        run_guarded(["sleep", "600"], cancellation=cancellation)


def test_what_a_handler_raises_while_the_order_is_given_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: StartedGuard, *args: Any, **options: Any) -> None:
        self.control.send(bytes(4))  # half of the length
        raise KeyboardInterrupt

    monkeypatch.setattr(StartedGuard, "order", interrupted)

    before = children()

    with pytest.raises(KeyboardInterrupt):
        run_guarded(["sleep", "600"])

    assert children() == before


UNINTERRUPTED = """
import sys
from cosmos_venv.processes.guarded_process import run_guarded
command = "import signal, time; signal.signal(signal.SIGINT, lambda *_: print('SIGINT', file=open(sys.argv[1], 'a'))); "
command += "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('SIGTERM', file=open(sys.argv[1], 'a')))); "
command += "print('ready', flush=True); time.sleep(600)"
run_guarded([sys.executable, "-c", "import sys; " + command, sys.argv[1]], interrupts=sys.argv[2] == "True",
    on_line=lambda line: print(line, flush=True))
"""


@pytest.mark.long
@pytest.mark.parametrize(("interrupts", "told"), [(True, ["SIGINT", "SIGTERM"]), (False, ["SIGTERM"])])
def test_a_command_that_is_not_to_be_interrupted_is_not_when_its_worker_is_killed(
    tmp_path: Path, interrupts: bool, told: list[str]
) -> None:
    signals = tmp_path / "signals"
    worker = subprocess.Popen(
        [sys.executable, "-c", UNINTERRUPTED, signals, str(interrupts)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    descendants = psutil.Process(worker.pid).children(recursive=True)

    worker.kill()
    worker.wait()

    psutil.wait_procs(descendants, DEADLINE)
    worker.stdout.close()
    assert signals.read_text().split() == told
