"""A guard gets its command when it has been started, or later: what it makes of it, and when it ends without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes import guard
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import StartedGuard, order_text, prestarted_guard, run_guarded
from tests.waiting import DEADLINE


def children() -> set[int]:
    """The children of this process; other tests may have left some for later ones."""
    return {child.pid for child in psutil.Process().children()}


def test_the_first_command_finds_its_guard_started_and_one_that_is_not_used_ends() -> None:
    before = children()
    with prestarted_guard():
        waiting = children() - before
        used = [int(run_guarded(["sh", "-c", "echo $PPID"]).lines[0]) for _ in range(2)]
    with prestarted_guard():
        pass
    with prestarted_guard(False):
        not_started = children()

    assert len(waiting) == 1
    assert used[:1] == [*waiting]
    assert used[1] not in waiting
    assert (not_started, children()) == (before, before)


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.just("\udcff")


@given(
    argv=st.lists(WORDS, min_size=1),
    env=st.dictionaries(WORDS.filter(lambda name: bool(name) and "=" not in name), WORDS),
    cwd=WORDS,
    interrupts=st.booleans(),
    umask=st.integers(0, 0o777),
)
def test_a_guard_reads_the_command_that_it_is_told(
    argv: list[str], env: dict[str, str], cwd: str, interrupts: bool, umask: int
) -> None:
    order = guard.Order(order_text(argv, env, cwd, interrupts=interrupts, umask=umask))

    assert [os.fsdecode(word) for word in order.command] == argv
    assert {os.fsdecode(name): os.fsdecode(value) for name, value in order.env.items()} == env
    assert (os.fsdecode(order.cwd), order.umask) == (cwd, umask)
    assert order.first_step == (guard.INTERRUPT_AT if interrupts else guard.TERMINATE_AT)


def test_a_command_gets_the_variables_of_the_moment_at_which_it_is_ordered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with prestarted_guard():
        monkeypatch.setenv("PIER", "set after the guard was started")
        done = run_guarded(["sh", "-c", 'echo "$PIER"; pwd'], cwd=tmp_path)

    assert done.lines == ["set after the guard was started", str(tmp_path)]


def test_a_word_that_no_command_can_hold_is_refused_and_nothing_stays() -> None:
    before = children()

    with pytest.raises(ValueError, match="embedded null byte"):
        run_guarded(["echo", "a\0b"])

    assert children() == before


WAITING = """
import os, sys, psutil
from cosmos_venv.processes.guarded_process import prestarted_guard
with prestarted_guard():
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
