"""A command whose project a server keeps leaves the same behind as a plain one, letter by letter."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import duckdb

from cosmos_venv.processes.guarded_process import CompletedCommand
from tests.dbt.warm.server.parse_cache.project import MARKS, OF_A_COMMAND, Kept
from tests.installed import DBT_111

pytestmark = MARKS

COMMANDS = {
    "seed": ["seed", "--full-refresh"],
    "run": ["run"],
    "test": ["test"],
    "build": ["build"],
    "compile": ["compile"],
    "ls": ["ls", "--output", "json"],
    "docs": ["docs", "generate"],
    "freshness": ["source", "freshness"],
    "run-one": ["run", "--select", "stg_vessels"],
    "inline": ["compile", "--inline", "select * from {{ ref('stg_vessels') }}"],
    "defer": ["run", "--select", "route_days", "--defer", "--state", "state", "--favor-state"],
    "fast-edges": ["--use-fast-test-edges", "build"],
    "no-write": ["--no-write-json", "run"],
    "no-partial-parse": ["--no-partial-parse", "run"],
}
# The parse file does not fit these, or is not asked for.
NOT_KEPT = {"no-partial-parse"}
ARTIFACTS = ("manifest.json", "semantic_manifest.json", "run_results.json", "catalog.json", "graph_summary.json")
_CREATED, _NOTHING = re.compile(r'"created_at": [\d.]+'), re.compile(r"(?!)")
GRAPHS = """
import json, pickle, sys
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        graph = pickle.load(file)
    print(json.dumps([list(graph.nodes(data=True)), sorted(graph.edges(data=True), key=str)], default=str))
"""


def left_behind(kept: Kept, done: CompletedCommand, graphs: Path) -> dict[str, str]:
    """All that a command has written, in words that should be the same the next time."""
    target = kept.folder / "target"
    found = {name: (target / name).read_text() for name in ARTIFACTS if (target / name).exists()}
    if (target / "graph.gpickle").exists():
        shutil.copy(target / "graph.gpickle", graphs)
    with duckdb.connect(str(kept.folder / "harbor.duckdb"), read_only=True) as database:
        names = database.execute("select table_schema, table_name from information_schema.tables order by all")
        tables = [".".join(row) for row in names.fetchall() if row[1] != "stg_crossings"]
    found.update({name: str(sorted(kept.value(name), key=str)) for name in tables})
    found["status"] = str(done.returncode)
    return {name: OF_A_COMMAND.sub("-", text) for name, text in found.items()}


# One test: each worker of pytest-xdist would run all these commands for its share of several.
def test_each_command_leaves_the_same_behind_letter_by_letter(harbor: Kept, tmp_path: Path) -> None:
    harbor.run("build", keeps=False)
    shutil.copytree(harbor.folder / "target", harbor.folder / "state")
    harbor.keep("run")
    graphs: list[Path] = []

    for name, words in COMMANDS.items():
        seen = []
        for keeps in (False, True):
            for file in [*(harbor.folder / "target").glob("*.json"), *(harbor.folder / "target").glob("*.gpickle")]:
                file.unlink()
            graphs.append(tmp_path / f"{name}-{keeps}.gpickle")
            before = harbor.state()["kept_uses"]
            done = harbor.run(*words, keeps=keeps)
            seen.append(left_behind(harbor, done, graphs[-1]))
            assert harbor.state()["kept_uses"] - before == (keeps and name not in NOT_KEPT), name
        required, found = seen
        assert found.keys() == required.keys(), name
        for part, text in required.items():
            # Made anew by each of these, with the time.
            pattern = _CREATED if name in ("inline", "no-partial-parse") else _NOTHING
            assert pattern.sub("-", found[part]) == pattern.sub("-", text), f"dbt {name}: {part}"
        assert required["status"] == "0", name
        if name == "no-partial-parse":
            harbor.keep("run")

    shown = subprocess.run(
        [DBT_111 / "bin" / "python", "-c", GRAPHS, *(path for path in graphs if path.exists())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = _CREATED.sub("-", shown).splitlines()
    assert len(lines) >= 2 * (len(COMMANDS) - 3)
    assert lines[::2] == lines[1::2]
