"""A guarded command: what the worker sees of it, and that nothing of it outlives the worker."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.guarded import Cancellation, CompletedCommand, GuardedProcess, run_guarded

DEADLINE = 20.0

# Ignores what is polite, starts a child in a session of its own that does so too, and says both PIDs.
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setsid()
else:
    print(os.getpid(), child, flush=True)
time.sleep(600)
"""


def python(source: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(source)]


def test_a_command_ends_when_the_next_ones_guard_cannot_be_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may raise in the middle of it."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cosmos_venv.guarded.start_next_guard", interrupted)
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    with pytest.raises(KeyboardInterrupt):
        GuardedProcess(["sleep", "600"])

    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


@pytest.fixture
def gone() -> Iterator[Callable[[int], bool]]:
    """Waits until a process is gone; whatever is still there at the end is killed, so that a failure leaves nothing."""
    asked: list[psutil.Process] = []

    def wait(pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            asked.append(process)
            process.wait(DEADLINE)
        except psutil.NoSuchProcess:
            return True
        except psutil.TimeoutExpired:
            return False
        return True

    yield wait
    for process in asked:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def test_lines_of_both_streams_arrive_in_order_while_the_command_runs(tmp_path: Path) -> None:
    seen: list[str] = []
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)

    def on_line(line: str) -> None:
        seen.append(line)
        if line == "one":  # the command waits for this: it is still running
            go_on.write_text("go")

    done = run_guarded(["sh", "-c", f'echo one; read word < "{go_on}"; echo two >&2; echo three'], on_line=on_line)

    assert done == CompletedCommand(returncode=0, lines=["one", "two", "three"])
    assert seen == done.lines


def test_the_worker_gets_a_word_in_while_the_command_is_silent(tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    seen: list[str] = []

    def on_tick() -> None:
        seen.append("tick")
        if seen.count("tick") == 3:  # the command says nothing until then
            go_on.touch()

    done = run_guarded(
        ["sh", "-c", f'printf "one\nhalf "; while [ ! -e "{go_on}" ]; do sleep 0.01; done; printf "a line\n\nlast"'],
        on_line=seen.append,
        on_tick=on_tick,
        tick=0.02,
    )

    assert done.lines == ["one", "half a line", "", "last"]
    assert [each for each in seen if each != "tick"] == done.lines


def test_what_is_raised_while_the_command_is_silent_ends_it(gone: Callable[[int], bool]) -> None:
    pids: list[int] = []

    def give_up() -> None:
        if pids:
            raise TimeoutError("long enough")

    with pytest.raises(TimeoutError, match="long enough"):
        run_guarded(["sh", "-c", "echo $$; sleep 600"], on_line=lambda line: pids.append(int(line)), on_tick=give_up)

    assert gone(pids[0])


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("exit 0", 0, id="success"),
        pytest.param("exit 3", 3, id="failure"),
        pytest.param("kill -9 $$", -signal.SIGKILL, id="killed"),
        pytest.param("kill -15 $$", -signal.SIGTERM, id="terminated"),
    ],
)
def test_the_status_is_the_one_that_subprocess_gives(script: str, expected: int) -> None:
    assert run_guarded(["sh", "-c", script]).returncode == expected


def test_a_command_that_cannot_be_started_is_an_os_error_with_its_name() -> None:
    with pytest.raises(FileNotFoundError, match="/no/such/dbt"):
        run_guarded(["/no/such/dbt"])


def test_the_command_starts_with_plain_signals_no_input_and_no_descriptor_of_the_worker(tmp_path: Path) -> None:
    with (tmp_path / "lease").open("w") as lease:
        done = run_guarded(
            python(
                """
                import os, signal
                print([n.name for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
                       if signal.getsignal(n) is not (signal.SIG_IGN if n == signal.SIGPIPE else signal.SIG_DFL)])
                print(os.read(0, 10))
                print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) > 3))
                """
            ),
            keep_open=[lease.fileno()],
        )

    assert done.lines == ["[]", "b''", "[]"]


@pytest.mark.parametrize(
    ("own", "added", "expected"), [(0o000, 0o022, "0022"), (0o077, 0o022, "0077"), (0o002, 0, "0002")]
)
def test_bits_are_added_to_the_umask_of_the_command_alone(own: int, added: int, expected: str) -> None:
    before = os.umask(own)
    try:
        completed = run_guarded(["sh", "-c", "umask"], start=partial(GuardedProcess, umask=added))
    finally:
        left = os.umask(before)

    assert (completed.lines, left) == ([expected], own)


def test_bytes_that_do_not_decode_become_escapes() -> None:
    done = run_guarded(["printf", r"caf\351\n"])

    assert done.lines == ["caf\\xe9"]


def test_a_request_ends_a_command_that_ignores_signals_and_its_child_in_another_session(
    gone: Callable[[int], bool],
) -> None:
    cancellation = Cancellation()
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.extend(int(word) for word in line.split())
        cancellation.request()

    with pytest.raises(CommandKilled):
        run_guarded(python(STUBBORN), on_line=on_line, cancellation=cancellation)

    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_the_first_signal_is_the_one_on_which_dbt_cancels_its_queries() -> None:
    cancellation = Cancellation()
    source = """
        import time
        try:
            print("ready", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            print("cancelled", flush=True)
    """
    seen: list[str] = []

    def on_line(line: str) -> None:
        seen.append(line)
        if line == "ready":
            cancellation.request()

    with pytest.raises(CommandKilled):
        run_guarded(python(source), on_line=on_line, cancellation=cancellation)

    assert seen == ["ready", "cancelled"]


def test_nothing_is_started_once_the_end_was_asked_for(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.request()

    with pytest.raises(CommandKilled):
        run_guarded(["touch", str(tmp_path / "started")], cancellation=cancellation)

    assert not (tmp_path / "started").exists()


def test_a_request_from_a_signal_handler_that_returns_ends_the_command() -> None:
    """Airflow 3 calls on_kill() from its SIGTERM handler and goes on where it was."""
    cancellation = Cancellation()
    previous = signal.signal(signal.SIGTERM, lambda *_: cancellation.request())
    try:
        with pytest.raises(CommandKilled):
            run_guarded(
                ["sh", "-c", "echo ready; exec sleep 600"],
                on_line=lambda _: os.kill(os.getpid(), signal.SIGTERM),
                cancellation=cancellation,
            )
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_an_exception_in_the_middle_ends_the_command(gone: Callable[[int], bool]) -> None:
    """Airflow 2 raises from its SIGTERM handler, wherever the task is."""
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.append(int(line))
        raise InterruptedError("terminated")

    with pytest.raises(InterruptedError):
        run_guarded(["sh", "-c", "echo $$; exec sleep 600"], on_line=on_line)

    assert gone(pids[0])


def test_what_a_command_leaves_behind_is_ended(gone: Callable[[int], bool]) -> None:
    done = run_guarded(["sh", "-c", "sleep 600 & echo $!"])

    assert done.returncode == 0
    assert gone(int(done.lines[0]))


def test_a_command_dies_with_a_worker_that_was_killed(gone: Callable[[int], bool]) -> None:
    worker = subprocess.Popen(
        python(
            f"""
            from cosmos_venv.guarded import run_guarded
            run_guarded([{sys.executable!r}, "-c", {STUBBORN!r}], on_line=lambda line: print(line, flush=True))
            """
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    pids = [int(word) for word in worker.stdout.readline().split()]
    worker.kill()
    worker.wait(DEADLINE)
    worker.stdout.close()

    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_command_survives_the_thread_that_started_it() -> None:
    processes: list[GuardedProcess] = []
    thread = threading.Thread(target=lambda: processes.append(GuardedProcess(["sh", "-c", "read x; echo done"])))
    thread.start()
    thread.join(DEADLINE)

    lines = processes[0].output.read().splitlines()

    assert lines == [b"done"]
    assert processes[0].wait() == 0
    processes[0].close()


def test_a_killed_guard_takes_its_command_along_and_says_so(gone: Callable[[int], bool]) -> None:
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.append(int(line))
        os.kill(psutil.Process(pids[0]).ppid(), signal.SIGKILL)

    with pytest.raises(CommandKilled, match="guard of sh was killed"):
        run_guarded(["sh", "-c", "echo $$; exec sleep 600"], on_line=on_line)

    assert gone(pids[0])


def test_a_lease_is_held_until_the_last_descendant_is_gone(tmp_path: Path, gone: Callable[[int], bool]) -> None:
    lease = tmp_path / "lease"
    held = os.open(lease, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_SH)
    process = GuardedProcess(["sh", "-c", "echo $$; exec sleep 600"], keep_open=[held])
    pid = int(process.output.readline())
    os.close(held)  # the worker lets go; the guard does not
    judge = os.open(lease, os.O_RDWR)

    with pytest.raises(BlockingIOError):
        fcntl.flock(judge, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.close()

    assert gone(pid)
    fcntl.flock(judge, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(judge)


def test_a_command_runs_in_a_process_with_many_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        completed = run_guarded([sys.executable, "-c", "print('moored')"], cwd=tmp_path)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert (completed.returncode, completed.lines) == (0, ["moored"])


def test_what_is_done_meanwhile_is_done_while_the_command_runs(tmp_path: Path) -> None:
    awaited = tmp_path / "go"
    command = python(f"import pathlib, time\nwhile not pathlib.Path({str(awaited)!r}).exists(): time.sleep(0.01)")

    assert run_guarded(command, meanwhile=awaited.touch).returncode == 0
