"""A guarded command: what the worker sees of it, and that nothing of it outlives the worker."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
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
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guard import readable
from cosmos_venv.processes.guarded_process import CompletedCommand, GuardedProcess, run_guarded
from tests.waiting import DEADLINE

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


@pytest.fixture
def gone() -> Iterator[Callable[[int], bool]]:
    """Waits until a process has ended; what has not is killed at the end, so that a failure leaves nothing."""
    left: list[int] = []

    def wait(pid: int) -> bool:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            has_ended = bool(readable([process], DEADLINE))  # not when its parent has collected it, some time later
        finally:
            os.close(process)
        left.extend([] if has_ended else [pid])
        return has_ended

    yield wait
    for pid in left:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def pids() -> Iterator[list[int]]:
    """The processes of a test; those that still run at its end are killed, so that a failure leaves nothing."""
    started: list[int] = []
    yield started
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


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


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("exit 3", 3, id="failure"),
        pytest.param("kill -9 $$", -signal.SIGKILL, id="killed"),
    ],
)
def test_the_status_is_the_one_that_subprocess_gives(script: str, expected: int) -> None:
    assert run_guarded(["sh", "-c", script]).returncode == expected


FORK_FAILS = """
import errno, marshal, os, socket
from cosmos_venv.processes import guard

def fails():
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

ours, its = socket.socketpair()
guard.take_order = lambda *_: guard.Order(marshal.dumps(([b"true"], {}, b"", True, 0)))
os.fork = fails
guard.main([str(its.fileno()), str(os.getppid())])
print(ours.recv(100).decode(), end="")
"""


def test_a_guard_that_cannot_fork_tells_the_error() -> None:
    """0.2.0 said that the guard was killed where a container had as many processes as it may."""
    done = subprocess.run([sys.executable, "-c", FORK_FAILS], check=True, stdout=subprocess.PIPE, text=True)

    assert done.stdout == f"error {errno.EAGAIN}\n"


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


@pytest.mark.parametrize(("own", "added", "expected"), [(0o000, 0o022, "0022"), (0o077, 0o022, "0077")])
def test_bits_are_added_to_the_umask_of_the_command_alone(own: int, added: int, expected: str) -> None:
    before = os.umask(own)
    try:
        completed = run_guarded(["sh", "-c", "umask"], launcher=partial(GuardedProcess, umask=added))
    finally:
        left = os.umask(before)

    assert (completed.lines, left) == ([expected], own)


def test_bytes_that_do_not_decode_become_escapes() -> None:
    done = run_guarded(["printf", r"caf\351\n"])

    assert done.lines == ["caf\\xe9"]


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


def test_a_command_survives_the_thread_that_started_it() -> None:
    processes: list[GuardedProcess] = []
    thread = threading.Thread(target=lambda: processes.append(GuardedProcess(["sh", "-c", "read x; echo done"])))
    thread.start()
    thread.join(DEADLINE)

    lines = processes[0].output.read().splitlines()

    assert lines == [b"done"]
    assert processes[0].wait() == 0
    processes[0].close()


# Each says the PIDs of all that it has started, its own first; then it lives on.
CHILDREN = {
    "alone": "echo $$; exec sleep 600",
    "a child that has the output": "sleep 600 & echo $$ $!; wait",
    "a child without the output": "sleep 600 > /dev/null 2>&1 & echo $$ $!; wait",
    "a grandchild without a parent": "exec 3>&1; echo $$ $(sh -c 'sleep 600 >&3 & echo $!'); exec sleep 600",
    "a child in a session of its own that has the output": f"exec {sys.executable} -c '{STUBBORN}'",
}


@pytest.mark.parametrize("script", CHILDREN.values(), ids=CHILDREN)
def test_a_guard_that_is_killed_alone_takes_along_all_that_its_command_has_started(
    gone: Callable[[int], bool], pids: list[int], script: str
) -> None:
    """A child that lives on keeps the output open: whoever reads it to its end waits for that child."""

    def on_line(line: str) -> None:
        pids.extend(int(word) for word in line.split())
        os.kill(psutil.Process(pids[0]).ppid(), signal.SIGKILL)

    with pytest.raises(CommandKilled, match="guard of sh was killed"):
        run_guarded(["sh", "-c", script], on_line=on_line, on_tick=lambda: None)

    assert all(gone(pid) for pid in pids)


def test_a_request_after_the_guard_was_killed_ends_what_it_has_left(
    gone: Callable[[int], bool], pids: list[int]
) -> None:
    """The task may be in a callback of its user's when its guard is killed, and does not look at its dbt then."""
    cancellation = Cancellation()
    was_gone: list[bool] = []

    def on_line(line: str) -> None:
        pids.extend(int(word) for word in line.split())
        guard = psutil.Process(psutil.Process(pids[0]).ppid())
        guard.kill()
        gone(guard.pid)
        cancellation.request()
        was_gone.append(gone(pids[1]))

    with pytest.raises(CommandKilled):
        run_guarded(["sh", "-c", CHILDREN["a child without the output"]], on_line=on_line, cancellation=cancellation)

    assert was_gone == [True]


def test_a_child_of_this_process_that_has_the_output_lives_on(pids: list[int]) -> None:
    """A child that this process forks while a guard starts may get the guard's end of the pipe."""

    def on_line(line: str) -> None:
        output = os.open(f"/proc/{line}/fd/1", os.O_WRONLY)
        child = subprocess.Popen(["sleep", "600"], pass_fds=[output])
        os.close(output)
        pids.append(child.pid)
        os.kill(psutil.Process(int(line)).ppid(), signal.SIGKILL)

    with pytest.raises(CommandKilled):
        run_guarded(["sh", "-c", CHILDREN["alone"]], on_line=on_line)

    assert psutil.Process(pids[0]).status() != psutil.STATUS_ZOMBIE


def test_a_command_has_ended_although_a_stranger_keeps_its_output_open(tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    strangers: list[int] = []

    def on_line(line: str) -> None:
        if line.isdigit():
            strangers.append(os.open(f"/proc/{line}/fd/1", os.O_WRONLY))
            go_on.write_text("go")

    done = run_guarded(["sh", "-c", f'echo $$; read word < "{go_on}"; echo last'], on_line=on_line)
    os.close(strangers[0])

    assert done.lines[1:] == ["last"]


def test_a_command_ends_with_its_worker_although_a_forked_child_keeps_the_connection_open(
    gone: Callable[[int], bool], pids: list[int]
) -> None:
    """A child that a library forks in the worker holds the worker's end of the socket: the guard sees no end of it."""
    worker = subprocess.Popen(
        python("""
        import os, time
        from cosmos_venv.processes.guarded_process import GuardedProcess

        process = GuardedProcess(["sh", "-c", "echo $$; exec sleep 600"])
        command = int(process.output.readline())
        child = os.fork()
        if child:
            print(command, child, flush=True)
        time.sleep(600)
        """),
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    command, child = (int(word) for word in worker.stdout.readline().split())
    pids.append(child)

    worker.kill()
    worker.wait(DEADLINE)
    worker.stdout.close()

    assert gone(command)


def test_a_line_of_many_pieces_arrives_whole() -> None:
    done = run_guarded(python("print('ab' * 4_000_000); print('short')"))

    assert [len(line) for line in done.lines] == [8_000_000, 5]


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
