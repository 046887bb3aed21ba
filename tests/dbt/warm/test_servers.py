"""The servers: their number, their own account of themselves, and their end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cosmos_venv.dbt.warm import servers
from tests.dbt.warm.conftest import DEADLINE, TOOL, Tool
from tests.waiting import wait_until
from tests.warm_servers import live_servers, stop


def ends(process: psutil.Process) -> bool:

    def has_ended() -> bool:
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return wait_until(has_ended, f"{process} has not ended")


def test_a_server_says_what_it_is(tool: Tool) -> None:
    for _ in range(3):
        tool.run("importer")

    (place,) = live_servers()
    state = servers.state_of(place)

    assert state is not None
    assert state["pid"] == tool.server().pid
    assert state["environment"] == str(tool.folder)
    assert state["commands"] == 3
    assert 0 <= time.time() - state["last_used"] < DEADLINE
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert place.socket.stat().st_mode & 0o077 == 0


def test_a_server_ends_on_request_and_leaves_no_socket(tool: Tool) -> None:
    tool.run("importer")
    (place,), process = live_servers(), tool.server()

    stop(place)

    assert ends(process)
    assert {path.suffix for path in place.folder.iterdir()} <= {".seen", ""}
    assert live_servers() == []
    assert servers.state_of(place) is None


def test_a_server_that_is_stopped_lets_its_commands_run_on(tool: Tool, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def on_line(line: str) -> None:
        if line.isdigit():
            (place,), process = live_servers(), tool.server()
            stop(place)
            assert ends(process)
            fifo.write_text("on")

    assert tool.run("wait", str(fifo), on_line=on_line).lines[1] == "on"


def test_a_server_ends_after_an_idle_time(tool: Tool) -> None:
    tool.idle = 0.5
    tool.run("importer")

    assert ends(tool.server())


def touch_packages(tool: Tool) -> None:
    os.utime(tool.script, (1, 1))


def remove_environment(tool: Tool) -> None:
    tool.folder.rename(tool.folder.with_name("rubbish"))


def remove_socket(tool: Tool) -> None:
    (place,) = live_servers()
    place.socket.unlink()


@pytest.mark.parametrize("change", [touch_packages, remove_environment, remove_socket])
def test_a_server_ends_with_its_files(
    tool: Tool, change: Callable[[Tool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool.run("importer")
    process = tool.server()

    change(tool)

    assert ends(process)


def test_an_environment_that_has_changed_gets_a_new_server_at_once(tool: Tool) -> None:
    first = tool.run("importer").lines[0].split()[0]

    tool.write(TOOL + "\n# of another release\n")
    os.utime(tool.script, (1, 1))
    second = tool.run("importer").lines[0].split()[0]

    assert first != second
    assert tool.starts == ["warm", "warm"]


def test_workers_that_come_at_once_start_one_server(tool: Tool) -> None:
    tool.write("import time; time.sleep(0.5)\n" + TOOL)
    source = f"""
from pathlib import Path
from cosmos_venv.processes import guard
from tests.dbt.warm.conftest import Tool
tool = Tool(folder=Path({str(tool.folder)!r}))
print(*tool.run("importer").lines, *tool.starts)
"""
    workers = [subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) for _ in range(5)]
    said = [worker.communicate(timeout=DEADLINE * 3)[0].split() for worker in workers]

    assert {each[0] for each in said} == {str(tool.server().pid)}
    assert [each[2] for each in said] == ["warm"] * 5
    assert len(live_servers()) == 1


def test_a_server_of_which_its_first_customer_was_killed_serves_the_next(tool: Tool) -> None:
    tool.write("import time; time.sleep(1.0)\n" + TOOL)
    source = f"""
from pathlib import Path
from cosmos_venv.processes import guard
from tests.dbt.warm.conftest import Tool
Tool(folder=Path({str(tool.folder)!r})).run("importer")
"""
    worker = subprocess.Popen([sys.executable, "-c", source])
    wait_until(live_servers, seconds=DEADLINE)
    worker.kill()
    worker.wait(DEADLINE)

    tool.run("importer")

    assert tool.starts == ["warm"]


@pytest.mark.long
def test_nothing_grows(tool: Tool) -> None:
    """Memory and descriptors of the server, its children, and those of the task's own process."""

    def state() -> tuple[int, int, int, int]:
        server = tool.server()
        return server.num_fds(), len(server.children()), psutil.Process().num_fds(), threading.active_count()  # noqa: TID251 - one that every command leaves would be 200

    for _ in range(10):
        tool.run("exit", "0")
    wait_until(lambda: not tool.server().children(), seconds=DEADLINE)
    before, memory = state(), tool.server().memory_info().rss

    for _ in range(200):
        assert tool.run("exit", "0").returncode == 0

    wait_until(lambda: not tool.server().children(), seconds=DEADLINE)
    assert state() == before
    assert tool.server().memory_info().rss <= memory + (1 << 20)
    assert tool.starts == ["warm"] * 210
    assert len(live_servers()) == 1
