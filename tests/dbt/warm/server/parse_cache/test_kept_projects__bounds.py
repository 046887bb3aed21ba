"""Servers that get a thread or too much memory by what they keep, and commands that cannot use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cosmos_venv.dbt.warm import servers
from tests.dbt.warm.conftest import TOOL, Tool

ROOT = Path(__file__).resolve().parents[5]
# A server without connections, in a process whose threads and memory are known.
BEGIN = """
import json, os, threading, time, types
from cosmos_venv.dbt.warm.server import server
from cosmos_venv.dbt.warm.server.parse_cache import kept_projects
from cosmos_venv.dbt.warm.server.listener import Refused

said = []
made = server.Server({"idle": 60}, types.SimpleNamespace(refuse=lambda *words: said.append(words)))
made.memory = server.resident()
made.projects = kept_projects.KeptProjects()

def has_grown():
    return made._has_grown()

class Steps:
    def __iter__(self):
        return self

    def __next__(self):
        threading.Thread(target=time.sleep, args=(60,), name="poller", daemon=True).start()
        raise StopIteration

def kept(ballast):
    return types.SimpleNamespace(content=b"", used=time.monotonic(), ballast=ballast)
"""
THREAD = (
    BEGIN
    + """
made.projects._making = kept(None), Steps()
try:
    made._take_step()
except Refused as refused:
    said.append(refused.word)
print(json.dumps(said), flush=True)
os._exit(0)
"""
)
MEMORY = (
    BEGIN
    + """
made.projects.ready.append(kept(b"x" * (256 << 20)))
made.projects._making = kept(None), Steps()
said.append([has_grown(), len(made.projects.ready), made.projects.is_making, made.projects.reasons])
kept_projects.dbt_internals.is_known = lambda: True
made.projects.offer(b"more")
said.append([made.projects.is_making, has_grown()])
elsewhere = b"x" * (256 << 20)
said.append(has_grown())
print(json.dumps(said))
"""
)
STRANGE_RELEASE = """
import types

class Release:
    def __str__(self):
        raise LookupError("no release")

sys.modules["dbt.version"] = types.SimpleNamespace(__version__=Release())
"""
NO_PLACE = """
import json
from cosmos_venv.dbt.warm.server import dbt_internals

class Harbor:
    name = "theirs"

try:
    dbt_internals.replace((Harbor, "name", "ours"), (int, "real", "ours"))
except TypeError:
    print(json.dumps(Harbor.name))
"""
NO_FILE = """
import json, os, resource
from cosmos_venv.dbt.warm.server import forked_command
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
print(json.dumps(forked_command.new_report()))
"""


def _said(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_server_that_has_got_a_thread_by_keeping_a_project_says_so_and_ends() -> None:
    (word, text), ended = _said(THREAD)

    assert (word, ended) == ("threads", "threads")
    assert "poller" in text


def test_beyond_its_memory_a_server_first_drops_its_projects_for_ever_and_goes_on() -> None:
    dropped, later, without = _said(MEMORY)

    assert dropped[:3] == [False, 0, False]
    assert "memory" in dropped[3][0]
    assert later == [False, False]
    assert without is True


def test_a_command_runs_where_nothing_can_be_said_about_its_project(tool: Tool) -> None:
    """A release whose parts cannot even be looked at is one."""
    tool.write(TOOL + STRANGE_RELEASE)

    done = tool.run("say", "one", options={"keeps_project": True})

    assert (done.returncode, done.lines) == (0, ["one"])
    assert tool.starts == ["warm"]


def test_without_a_file_for_its_report_a_command_has_none() -> None:
    assert _said(NO_FILE) is None


def test_of_what_is_put_in_the_place_of_dbt_s_all_is_there_or_nothing() -> None:
    assert _said(NO_PLACE) == "theirs"


def test_whoever_looks_for_a_server_knows_all_modules_of_which_it_consists() -> None:
    """A server of other code is another server."""
    plain, keeping = _said(
        "import json, sys, cosmos_venv.dbt.warm.server.server\n"
        "prefix, seen = 'cosmos_venv.dbt.warm.server.', []\n"
        "for do in (lambda: None, cosmos_venv.dbt.warm.server.forked_command.parse_cache):\n"
        "    do()\n"
        "    names = [n for n, m in sys.modules.items() if n.startswith(prefix) and not hasattr(m, '__path__')]\n"
        "    seen.append(sorted(name.removeprefix(prefix).replace('.', '/') for name in names))\n"
        "print(json.dumps(seen))"
    )

    assert keeping == sorted(servers._OF_A_SERVER)
    assert plain == [name for name in keeping if not name.startswith("parse_cache/")]
