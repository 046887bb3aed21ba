"""Servers that get a thread or too much memory by what they keep, and commands that cannot use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cosmos_venv.dbt.warm import servers

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


def _said(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_beyond_its_memory_a_server_first_drops_its_projects_for_ever_and_goes_on() -> None:
    dropped, later, without = _said(MEMORY)

    assert dropped[:3] == [False, 0, False]
    assert "memory" in dropped[3][0]
    assert later == [False, False]
    assert without is True


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
