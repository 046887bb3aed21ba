"""Servers, keepers and workers that die at any moment: every result is right, and no command runs twice."""

from __future__ import annotations

import collections
import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import psutil
import pytest

from cosmos_venv.dbt.warm import servers
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.scratch import scratch_folder
from tests.dbt.warm.conftest import DEADLINE, Tool
from tests.kit import AreGone

COMMANDS, KILLS = 120, 30
AT_ONCE = {"is_required": False, "idle": 1e12}


@pytest.mark.long
def test_servers_are_killed_at_random_and_every_command_runs_once(tool: Tool, tmp_path: Path) -> None:
    note = tmp_path / "note"
    is_over = threading.Event()
    killed: list[int] = []
    killer = threading.Thread(target=kill_at_random, args=(is_over, killed))
    killer.start()
    results: dict[int, int] = {}

    def work(first: int) -> None:
        for number in itertools.count(first, 2):
            if number >= COMMANDS and len(killed) >= KILLS:  # a quick machine runs more of them meanwhile
                return
            done = tool.run("exit", str(number % 100), env={"NOTE": str(note), "ID": str(number)}, options=AT_ONCE)
            results[number] = done.returncode

    workers = [threading.Thread(target=work, args=(first,)) for first in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    is_over.set()
    killer.join()

    assert results == {number: number % 100 for number in results}
    ran = collections.Counter(note.read_text().split())
    assert ran == {str(number): 1 for number in results}
    assert tool.starts.count("warm") >= COMMANDS / 4


def kill_at_random(is_over: threading.Event, killed: list[int]) -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    while not is_over.wait(chance.random() * 0.25):
        for place in servers.servers():
            pid = place.note().get("pid")
            if pid is not None and pid not in killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)


def test_a_command_survives_its_server(tool: Tool, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def on_line(line: str) -> None:
        if line.isdigit():
            tool.server().kill()
            fifo.write_text("alone")

    done = tool.run("wait", str(fifo), on_line=on_line)

    assert done.returncode == 0
    assert done.lines[1] == "alone"


@pytest.mark.parametrize("command", ["wait", pytest.param("leave", id="with-children-that-have-the-output")])
def test_a_command_goes_with_its_keeper_and_the_task_fails(
    tool: Tool, tmp_path: Path, gone: AreGone, command: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.extend(map(int, line.split()))
        keeper = psutil.Process(pids[0]).parent()
        assert keeper is not None
        pids.append(keeper.pid)
        keeper.kill()

    with pytest.raises(CommandKilled, match="The guard of "):
        tool.run(command, str(fifo), on_line=on_line)

    assert gone(pids)
    assert tool.starts == ["warm"]


WORKER_IN_A_FOLDER = """
from pathlib import Path
from cosmos_venv.processes.scratch import descriptors_of, scratch_folder
from tests.dbt.warm.conftest import Tool
with scratch_folder("cosmos-venv-run-") as folder:
    Tool(folder=Path({folder!r})).run("leave", {fifo!r}, cwd=folder, keep_open=descriptors_of(folder),
        env={{"TARGET": str(folder / "target")}}, on_line=lambda line: print(line, flush=True))
"""


@pytest.mark.long
def test_what_a_worker_and_a_keeper_leave_that_are_killed_at_once_is_ended_by_the_next(
    tool: Tool, tmp_path: Path, gone: AreGone
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = WORKER_IN_A_FOLDER.format(folder=str(tool.folder), fifo=str(fifo))
    worker = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    pid, *children = (int(word) for word in worker.stdout.readline().split())
    keeper = psutil.Process(pid).parent()
    assert keeper is not None

    for number in (signal.SIGSTOP, signal.SIGKILL):  # so that neither sees the other's end
        for each in (keeper.pid, worker.pid):
            os.kill(each, number)
    worker.wait(DEADLINE)
    worker.stdout.close()
    assert gone([keeper.pid, pid])
    were_left = all(psutil.pid_exists(child) for child in children)
    with scratch_folder():
        pass

    assert were_left
    assert gone(children)


WORKER = """
import os, sys, time
from pathlib import Path
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded
from tests.dbt.warm.conftest import Tool
tool = Tool(folder=Path({folder!r}))
def on_line(line):
    child = os.fork() if {forks} else 0
    if {forks} and child == 0:
        time.sleep(600)  # holds the worker's end of the connection
    print(child, line, flush=True)
tool.run("leave", {fifo!r}, on_line=on_line)
"""


@pytest.mark.long
@pytest.mark.parametrize("forks", [pytest.param(False, id="alone"), pytest.param(True, id="after-a-fork")])
def test_a_command_dies_with_its_worker(tool: Tool, tmp_path: Path, gone: AreGone, forks: bool) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = textwrap.dedent(WORKER).format(folder=str(tool.folder), fifo=str(fifo), forks=forks)
    worker = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    child, *pids = (int(word) for word in worker.stdout.readline().split())

    worker.kill()
    worker.wait(DEADLINE)

    assert len(pids) == 3
    assert gone(pids)
    worker.stdout.close()
    if forks:
        os.kill(child, signal.SIGKILL)


BEFORE_GO = """
import os, sys, time
from pathlib import Path
from cosmos_venv.dbt.warm import process
from tests.dbt.warm.conftest import Tool
def refuse(line):
    print(line, os.getpid(), flush=True)
    time.sleep(600)
process._refuse_refusal = refuse
Tool(folder=Path({folder!r})).run("exit", "0")
"""


def test_a_worker_that_dies_before_it_said_go_leaves_nothing(tool: Tool, tmp_path: Path, gone: AreGone) -> None:
    note = tmp_path / "note"
    worker = subprocess.Popen(
        [sys.executable, "-c", BEFORE_GO.format(folder=str(tool.folder))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NOTE": str(note), "ID": "1"},
    )
    assert worker.stdout is not None
    word, prepared, _ = worker.stdout.readline().split()
    below = [child.pid for child in tool.server().children(recursive=True)]

    worker.kill()
    worker.wait(DEADLINE)

    assert word == "ready"
    assert int(prepared) in below
    assert gone(below)
    assert not note.exists()
    assert tool.server().is_running()
    worker.stdout.close()


@pytest.mark.parametrize("victim", ["keeper", "command"])
def test_what_dies_before_go_is_replaced_by_a_plain_command(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    from cosmos_venv.dbt.warm import process

    accept = process._refuse_refusal

    def kill_then_accept(line: str) -> None:
        accept(line)
        prepared = psutil.Process(int(line.split()[1]))
        keeper = prepared.parent()
        assert keeper is not None
        (keeper if victim == "keeper" else prepared).kill()
        deadline = time.monotonic() + DEADLINE
        while is_running(keeper.pid if victim == "keeper" else prepared.pid) and time.monotonic() < deadline:
            time.sleep(0.01)

    monkeypatch.setattr(process, "_refuse_refusal", kill_then_accept)
    note = tmp_path / "note"

    try:
        done = tool.run("exit", "3", env={"NOTE": str(note), "ID": "1"}, options=AT_ONCE)
    except CommandKilled:
        # The word was on its way: nobody knows whether it was heard, so nothing runs again.
        assert not note.exists()
        return

    if note.exists():
        assert done.returncode == 3
        assert note.read_text() == "1\n"
    else:
        assert done.returncode == -signal.SIGKILL


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_command_that_does_not_get_on_before_go_is_given_up(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keeper is stopped as soon as it has said hello."""
    from cosmos_venv.dbt.warm.process import WarmStart

    tool.run("importer")
    agreed = WarmStart._agreed

    def with_a_stopped_keeper(self: WarmStart, connection: object, word: str, *others: object) -> object:
        os.kill(int(word.split()[1]), signal.SIGSTOP)
        stopped.append(int(word.split()[1]))
        connection.settimeout(0.3)  # type: ignore[attr-defined]
        return agreed(self, connection, word, *others)  # type: ignore[arg-type]

    stopped: list[int] = []
    monkeypatch.setattr(WarmStart, "_agreed", with_a_stopped_keeper)
    note = tmp_path / "note"

    done = tool.run("exit", "3", env={"NOTE": str(note), "ID": "1"}, options=AT_ONCE)
    os.kill(stopped[0], signal.SIGCONT)
    psutil.wait_procs([psutil.Process(pid) for pid in stopped if psutil.pid_exists(pid)], timeout=DEADLINE)

    assert done.returncode == 3
    assert note.read_text() == "1\n"
    assert tool.starts == ["warm", "connection"]


def test_what_a_signal_raises_once_go_was_said_starts_nothing_anew(tool: Tool) -> None:
    """A TimeoutError of the user's own alarm is one, and an OSError."""
    tool.run("importer")

    def alarm(frame: types.FrameType, event: str, called: object) -> None:
        if event == "c_return" and getattr(called, "__name__", "") == "sendall" and "GO" in frame.f_code.co_names:
            sys.setprofile(None)
            raise TimeoutError("the user's time is over")

    sys.setprofile(alarm)
    try:
        with pytest.raises(TimeoutError, match="the user's time is over"):
            tool.run("exit", "0", options={"is_required": False})
    finally:
        sys.setprofile(None)

    assert tool.starts == ["warm"]
