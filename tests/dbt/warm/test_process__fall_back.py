"""Whatever is in the way of a warm start: the command runs as a plain process, once, and one line says why."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.dbt.warm import servers
from cosmos_venv.exceptions import NotWarm
from tests.dbt.warm.conftest import DEADLINE, TOOL, Tool
from tests.waiting import wait_until
from tests.warm_servers import live_servers

AT_ONCE = {"is_required": False, "idle": 1e12}  # every command is taken for the second one


def no_folder(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tool.folder / "file"
    blocked.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(blocked))


def folder_of_all(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = servers.folders()
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)


def import_that_fails(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.modules = {"harbor_tool": True, "no_such_module": True}


def threads(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.write(TOOL + "\nthreading.Thread(target=time.sleep, args=(2,), name='poller', daemon=True).start()\n")


def variable(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.write(TOOL + "\nHUB = os.environ.get('HUB_OF_HARBORS')\n")
    monkeypatch.setenv("HUB_OF_HARBORS", "elsewhere")


def binary(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dbt that is a binary, as dbt 2 is. Here it still is a program of this machine."""
    tool.script.write_bytes(Path("/bin/echo").read_bytes())


def no_program(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.script.write_text("#!/bin/sh\nexec echo no python\n")


def enough(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Tool(folder=tool.folder.parent / "other")
    other.write()
    other.run("importer")
    tool.most = 1


def another_system(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without ``/proc``, which shows the umask: nothing there may be read."""
    monkeypatch.setattr(sys, "platform", "darwin")


@pytest.mark.parametrize(
    ("prepare", "reason", "words"),
    [
        pytest.param(no_folder, "folder", "Not a directory", id="no-folder"),
        pytest.param(folder_of_all, "folder", "not this user's alone", id="folder-of-all"),
        pytest.param(import_that_fails, "import", "no_such_module", id="import"),
        pytest.param(threads, "threads", "poller", id="threads"),
        pytest.param(variable, "variable", "HUB_OF_HARBORS", id="variable"),
        pytest.param(no_program, "binary", "no Python program", id="no-python"),
        pytest.param(enough, "enough", "1 servers", id="enough"),
        pytest.param(another_system, "system", "only Linux is served", id="another-system"),
    ],
)
def test_the_command_runs_once_all_the_same(
    tool: Tool,
    prepare: Callable[[Tool, pytest.MonkeyPatch], None],
    reason: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    prepare(tool, monkeypatch)
    note = tmp_path / "note"

    done = tool.run("exit", "4", env={"NOTE": str(note), "ID": "7"}, options=AT_ONCE)

    assert tool.starts == [reason]
    assert len(tool.told) == 1
    assert words in tool.told[0]
    if reason != "binary":
        assert done.returncode == 4
        assert note.read_text() == "7\n"
    with pytest.raises(NotWarm, match=words):
        tool.run("exit", "4", env={"NOTE": str(note), "ID": "7"})


def test_an_environment_that_cannot_be_served_is_not_tried_again(tool: Tool) -> None:
    tool.write(f"open({str(tool.folder.parent / 'imports')!r}, 'a').write('x')\n" + TOOL)
    tool.modules = {"harbor_tool": True, "no_such_module": True}

    for _ in range(3):
        tool.run("exit", "0", options=AT_ONCE)

    assert tool.starts == ["import"] * 3
    assert (tool.folder.parent / "imports").read_text() == "x" * 4  # three plain ones, and the server's


def test_a_worker_that_stands_elsewhere_is_refused(tool: Tool) -> None:
    tool.run("importer")
    os.sched_setaffinity(0, all_processors := os.sched_getaffinity(0))
    if len(all_processors) == 1:
        pytest.skip("one processor only")
    os.sched_setaffinity(0, {min(all_processors)})
    try:
        tool.run("importer", options=AT_ONCE)
    finally:
        os.sched_setaffinity(0, all_processors)

    assert tool.starts == ["warm", "situation"]
    assert "Cpus_allowed" in tool.told[0]


def test_a_worker_with_other_limits_is_refused(tool: Tool) -> None:
    tool.run("importer")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (900, files[1]))
    try:
        tool.run("importer", options=AT_ONCE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)

    assert tool.starts == ["warm", "situation"]
    assert "resource limits" in tool.told[0]


def test_a_hung_server_is_given_up(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LONGEST_WORD", 0.5)
    tool.run("importer")
    hung = tool.server()
    hung.suspend()

    done = tool.run("exit", "3", options=AT_ONCE)
    hung.kill()

    assert done.returncode == 3
    assert tool.starts == ["warm", "hung"]


IMPORTS_FOR_EVER = "\nif 'cosmos_venv' in sys.argv[1]: time.sleep(600)\n"


def test_a_server_that_imports_for_long_is_left_to_it(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LONGEST_IMPORT", 0.3)
    tool.write(TOOL + IMPORTS_FOR_EVER)

    statuses = [tool.run("exit", "3", options=AT_ONCE).returncode for _ in range(3)]

    assert statuses == [3, 3, 3]
    assert tool.starts == ["importing"] * 3
    assert "still imports" in tool.told[0]
    assert tool.server().is_running()


@pytest.mark.timeout(60)
def test_a_forked_server_that_says_nothing_is_not_waited_for(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LONGEST_START", 0.3)
    monkeypatch.setattr(servers, "LONGEST_WORD", 0.3)
    python, pid_file = tool.script.parent / "python", tool.folder / "pid"
    python.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > '{pid_file}'\n")
    python.chmod(0o755)
    place = servers.ServerPaths(folder=tool.folder, key="hung")

    with pytest.raises(NotWarm, match="its server did not start"):
        servers.start(place, tool.program, "", {}, idle=1.0, most=1)

    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_a_leftover_of_a_killed_server_is_replaced(tool: Tool) -> None:
    tool.run("importer")
    os.kill(tool.server().pid, signal.SIGKILL)
    wait_until(lambda: not live_servers(), seconds=DEADLINE)

    tool.run("importer")

    assert tool.starts == ["warm", "warm"]
    assert len(live_servers()) == 1
