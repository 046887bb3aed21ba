"""Commands that are forked from a process which has imported their program: what comes of them, and how they end."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation
from tests.dbt.warm.conftest import TOOL, Tool
from tests.kit import AreGone


def test_the_program_is_imported_once_for_all_commands(tool: Tool) -> None:
    answers = [tool.run("importer").lines[0].split() for _ in range(3)]

    importers, commands = {each[0] for each in answers}, {each[1] for each in answers}
    assert importers == {str(tool.server().pid)}
    assert len(commands) == 3
    assert tool.starts == ["warm"] * 3
    assert tool.told == []


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["exit", "0"], id="success"),
        pytest.param(["exit", "3"], id="failure"),
        pytest.param(["exit", "256"], id="large"),
        pytest.param(["exit", "-1"], id="negative"),
        pytest.param(["signal", "9"], id="killed"),
        pytest.param(["signal", "15"], id="terminated"),
        pytest.param(["signal", "11"], id="crashed"),
        pytest.param(["text"], id="text"),
        pytest.param(["raise"], id="exception"),
        pytest.param(["thread"], id="thread"),
        pytest.param(["atexit"], id="at-exit"),
        pytest.param(["say", "one", "two", "three"], id="both-streams"),
    ],
)
def test_a_command_ends_and_speaks_as_a_plain_one(tool: Tool, words: list[str]) -> None:
    warm, plain = tool.run(*words), tool.run_plain(*words)

    assert warm == plain
    assert tool.starts == ["warm"]


def test_a_command_whose_output_is_lost_ends_as_a_plain_one(tool: Tool) -> None:
    warm, plain = tool.run("full"), tool.run_plain("full")

    assert (warm.returncode, plain.returncode) == (120, 120)
    assert tool.starts == ["warm"]


def test_lines_arrive_while_the_command_runs(tool: Tool, tmp_path: Path) -> None:
    fifo = tmp_path / "go-on"
    os.mkfifo(fifo)
    seen: list[str] = []

    def on_line(line: str) -> None:
        seen.append(line)
        if len(seen) == 1:  # the command waits for this: it is still running
            fifo.write_text("gone on")

    done = tool.run("wait", str(fifo), on_line=on_line)

    assert done.lines[1] == "gone on"
    assert seen == done.lines


POOL = """
def end_before_fork():
    if not IS_OVER.is_set():
        IS_OVER.set()
        ENDED.acquire()

IS_OVER, ENDED = threading.Event(), threading.Lock()
ENDED.acquire()
os.register_at_fork(before=end_before_fork)
"""
NATIVE_THREAD = "\nimport _thread; _thread.start_new_thread(lambda: (IS_OVER.wait(), ENDED.release()), ())\n"
THREAD = "\nthreading.Thread(target=lambda: (IS_OVER.wait(), ENDED.release()), daemon=True).start()\n"


@pytest.mark.parametrize("thread", [NATIVE_THREAD, THREAD], ids=["native", "python"])
def test_a_thread_that_ends_before_a_fork_is_not_in_the_way(tool: Tool, thread: str) -> None:
    """The threads of OpenBLAS are such: they begin anew when there is something to compute."""
    tool.write(TOOL + POOL + thread)

    assert [tool.run("exit", "3").returncode for _ in range(2)] == [3, 3]
    assert tool.starts == ["warm", "warm"]
    assert tool.server().num_threads() == 1


# As DuckDB 1.4 and 1.5 do: importing it opens a connection with a thread, and another connection is opened when asked.
DUCKDB = """
import threading
is_closed = threading.Event()
thread = threading.Thread(target=is_closed.wait, daemon=True)
thread.start()

def close():
    is_closed.set()
    thread.join()
"""


def test_the_thread_of_duckdbs_default_connection_is_ended(tool: Tool) -> None:
    tool.write(f"{TOOL}\nimport duckdb\n")
    (tool.script.parent / "duckdb.py").write_text(DUCKDB)

    assert tool.run("exit", "4").returncode == 4

    assert tool.starts == ["warm"]
    assert tool.server().num_threads() == 1


@pytest.mark.long
def test_a_kill_reaches_all_that_a_command_has_started(tool: Tool, tmp_path: Path, gone: AreGone) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    cancellation = Cancellation()
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.extend(map(int, line.split()))
        cancellation.request()

    with pytest.raises(CommandKilled):
        tool.run("leave", str(fifo), cancellation=cancellation, on_line=on_line)

    assert len(pids) == 3
    assert gone(pids)
    assert tool.server().is_running()


@pytest.mark.parametrize(("interrupts", "number"), [(True, signal.SIGINT), (False, signal.SIGTERM)])
def test_a_kill_is_polite_first(tool: Tool, interrupts: bool, number: int) -> None:
    cancellation = Cancellation()
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        cancellation.request()

    with pytest.raises(CommandKilled):
        tool.run("polite", cancellation=cancellation, on_line=on_line, interrupts=interrupts)

    assert lines[1:] == [f"told {int(number)}"]


@pytest.mark.long
def test_what_a_command_leaves_behind_is_ended(tool: Tool, gone: AreGone) -> None:
    done = tool.run("leave", "")

    assert done.returncode == 0
    assert gone([int(pid) for pid in done.lines[0].split()])


def test_a_kill_while_the_server_imports_is_not_waited_for(tool: Tool) -> None:
    tool.write("import time\ntime.sleep(600)\n")
    cancellation = Cancellation()
    threading.Timer(0.5, cancellation.request).start()

    with pytest.raises(CommandKilled):
        tool.run("importer", cancellation=cancellation)


def test_a_command_that_was_killed_before_it_began_has_not_run(tool: Tool, tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.request()

    with pytest.raises(CommandKilled):
        tool.run("importer", env={"NOTE": str(tmp_path / "note"), "ID": "1"}, cancellation=cancellation)

    assert not (tmp_path / "note").exists()


def test_a_lease_is_held_until_the_last_process_of_the_command_is_gone(tool: Tool, tmp_path: Path) -> None:
    fifo, lease = tmp_path / "fifo", tmp_path / "lease"
    os.mkfifo(fifo)
    descriptor = os.open(lease, os.O_RDWR | os.O_CREAT)
    holders: list[bool] = []

    def on_line(line: str) -> None:
        if not holders:
            command = psutil.Process(int(line))
            keeper = command.parent()
            assert keeper is not None
            held = {file.path for file in keeper.open_files()}
            holders.append(str(lease) in held)
            holders.append(str(lease) in {file.path for file in command.open_files()})
            holders.append(str(lease) in {file.path for file in tool.server().open_files()})
            fifo.write_text("on")

    tool.run("wait", str(fifo), keep_open=[descriptor], on_line=on_line)
    os.close(descriptor)

    assert holders == [True, False, False]


def test_nobody_but_the_command_can_write_its_output(tool: Tool, tmp_path: Path) -> None:
    """Whoever else could would keep its reader waiting after its end."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writers: list[int] = []

    def on_line(line: str) -> None:
        if not writers:
            output = Path(f"/proc/{line}/fd/1").readlink()
            writers.extend(process.pid for process in psutil.process_iter() if output in ends_to_write(process.pid))  # noqa: TID251 - the pipe is this test's own
            writers.append(-int(line))
            fifo.write_text("on")

    tool.run("wait", str(fifo), on_line=on_line)

    assert sum(writers) == 0
    assert len(writers) == 2


def ends_to_write(pid: int) -> list[Path]:
    """The files that a process holds open for writing alone."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if not descriptor.lstat().st_mode & 0o400:
                found.append(descriptor.readlink())
        except OSError:
            continue
    return found


def test_a_folder_that_is_not_there_is_named_as_by_a_plain_command(tool: Tool, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        tool.run("importer", cwd=tmp_path / "none", options={"is_required": False, "idle": 1e12})

    assert tool.starts == ["folder"]
