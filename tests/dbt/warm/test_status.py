"""The servers that are shown, and the processes that are told to end."""

from __future__ import annotations

import os
from pathlib import Path

from cosmos_venv.dbt.warm.status import running_servers
from tests.dbt.warm.conftest import Tool


def test_what_a_server_has_forked_is_no_server(tool: Tool, tmp_path: Path) -> None:
    """The keeper and the command have the server's command line."""
    fifo, seen = tmp_path / "fifo", []
    os.mkfifo(fifo)
    tool.run("importer")

    def on_line(line: str) -> None:
        if line.isdigit():
            seen.extend(running_servers(below=tool.folder))
            fifo.write_text("on")

    tool.run("wait", str(fifo), on_line=on_line)

    (server,) = seen
    assert server.pid == tool.server().pid
    assert [each.name for each in server.running] == ["tool wait"]
