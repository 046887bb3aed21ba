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
from pathlib import Path

import psutil
import pytest

from cosmos_venv.exceptions import CommandKilled
from tests.dbt.warm.conftest import DEADLINE, Tool
from tests.kit import AreGone
from tests.waiting import wait_until
from tests.warm_servers import live_servers

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
        for place in live_servers():
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
        wait_until(lambda: not is_running(keeper.pid if victim == "keeper" else prepared.pid))

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
