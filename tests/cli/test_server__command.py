"""Tests of ``cosmos-venv server status`` and ``stop``, with real servers."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from cosmos_venv.cli import main
from cosmos_venv.dbt.warm import servers
from tests.dbt.warm.conftest import Tool
from tests.warm_servers import live_servers
from tests.whole.page_outputs import masked, shown_by


class Run(Protocol):
    """Run ``cosmos-venv server … --json``, and return its exit code and what it has printed as data."""

    def __call__(self, *arguments: str) -> tuple[int, Any]: ...


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], short_folder: Path) -> Run:
    """The command on the servers of this test alone: others of this user are not ours to end."""

    def run(*arguments: str) -> tuple[int, Any]:
        capfd.readouterr()
        code = main(["server", *arguments, "--dir", str(short_folder), "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


def test_where_no_server_runs_that_is_said(short_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["server", "status", "--dir", str(short_folder)])

    assert (code, capfd.readouterr().out) == (
        0,
        f"No warm server runs on this host for an environment in {short_folder}.\n",
    )


def test_status_tells_of_a_server_and_of_what_it_runs(tool: Tool, run: Run, tmp_path: Path) -> None:
    fifo, seen = tmp_path / "fifo", []
    os.mkfifo(fifo)
    tool.run("exit", "0")

    def on_line(line: str) -> None:
        if line.isdigit():
            seen.append((int(line), run("status")))
            fifo.write_text("on")

    tool.run("wait", str(fifo), on_line=on_line)

    ((command, (code, data)),) = seen
    (server,) = data["servers"]
    (running,) = server.pop("running")
    assert code == 0
    assert server.pop("pid") == tool.server().pid
    assert server.pop("user") == psutil.Process().username()
    assert server.pop("environment") == str(tool.folder)
    assert (server.pop("state"), server.pop("commands")) == ("ready", 2)
    assert 0 <= server.pop("idle_seconds") <= server.pop("age_seconds") < 60
    assert server.pop("memory_bytes") > 1 << 20
    assert Path(server.pop("socket")).is_socket()
    assert server == {}
    assert (running["pid"], running["name"]) == (command, "tool wait"), "no argument is shown: it may be a secret"
    assert running["memory_bytes"] > 0


def test_the_page_shows_the_table_of_a_command_that_runs(
    tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fifo, said = tmp_path / "fifo", []
    os.mkfifo(fifo)
    tool.run("exit", "0")

    def on_line(line: str) -> None:
        if line.isdigit():
            capfd.readouterr()
            main(["server", "status", "--dir", str(tool.folder)])
            said.extend(capfd.readouterr().out.splitlines())
            fifo.write_text("on")

    tool.run("wait", str(fifo), on_line=on_line)

    def alike(line: str) -> str:
        """The line with the same environment, user, ages and command on each machine."""
        for pattern, word in (
            (rf"{re.escape(str(tool.folder))}|\b[0-9a-f]{{12}}-\d+", "ENVIRONMENT"),
            (rf"\b({psutil.Process().username()}|airflow)\b", "USER"),
            (r"\b\d+ (s|min)\b", "AGE"),
            (r"\b(tool wait|dbt run)\b", "COMMAND"),
        ):
            line = re.sub(pattern, word, line)
        return masked(line)

    assert list(map(alike, shown_by("reference/cli.md", "server status"))) == list(map(alike, said))


def test_a_server_of_a_worker_with_another_temporary_folder_is_found(
    tool: Tool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool.run("exit", "0")
    pid = tool.server().pid
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tempfile, "tempdir", str(tmp_path))

        assert live_servers() == []
        assert [each["pid"] for each in run("status")[1]["servers"]] == [pid]


def test_stop_ends_a_server_and_no_command(tool: Tool, run: Run, tmp_path: Path) -> None:
    fifo, seen = tmp_path / "fifo", []
    os.mkfifo(fifo)

    def on_line(line: str) -> None:
        if line.isdigit():
            process = tool.server()
            seen.append((run("stop", str(process.pid)), psutil.pid_exists(process.pid) and process.status()))
            fifo.write_text("on")

    done = tool.run("wait", str(fifo), on_line=on_line)

    (((code, data), status),) = seen
    assert (code, [each["has_ended"] for each in data["servers"]]) == (0, [True])
    assert status in (False, psutil.STATUS_ZOMBIE)
    assert done.lines[1] == "on"
    assert run("stop", "--all") == (0, {"servers": []})


def test_a_server_that_hangs_is_shown_as_such_and_is_killed(
    tool: Tool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool.run("exit", "0")
    monkeypatch.setattr(servers, "LONGEST_WORD", 0.2)
    tool.server().suspend()

    shown, stopped = run("status"), run("stop", "--all")

    assert [(each["state"], each["commands"]) for each in shown[1]["servers"]] == [("hung", None)]
    assert (stopped[0], [each["has_ended"] for each in stopped[1]["servers"]]) == (0, [True])


def test_a_name_that_fits_no_server_is_an_error_in_both_forms(
    short_folder: Path, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    code, data = run("stop", "none")

    assert (code, data) == (1, {"error": "NAME 'none' fits no server: see cosmos-venv server status."})
    assert main(["server", "stop", "none", "--dir", str(short_folder)]) == 1
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", f"{data['error']}\n")
