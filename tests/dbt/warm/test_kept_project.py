"""What a server keeps of a project: the very same as dbt would read and write, and the right SQL after each change."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from cosmos_venv.dbt.outputs import Outputs
from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject, kept_file, moved, root_of
from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.dbt.workspace import workspace
from cosmos_venv.guarded import Cancellation, CompletedCommand, run_guarded
from tests.dbt.warm.conftest import end_all_servers

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "dbt" / "harbor"
DBT = ROOT / ".cache" / "envs" / "dbt111"
DEADLINE = 120.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (DBT / "bin" / "dbt").exists() and os.environ.get("CI") != "true",
        reason="no dbt 1.11 at .cache/envs/dbt111: make test makes it",
    ),
]

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
VARIABLES = {"DBT_PROFILES_DIR": ".", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "PYTHONHASHSEED": "0"}
PIER = {
    "dbt_project.yml": "name: pier\nversion: '1.0'\nprofile: harbor\nvars: {weather: calm}\n",
    "profiles.yml": "harbor: {target: dev, outputs: {"
    "dev: {type: duckdb, path: harbor.duckdb, schema: \"{{ env_var('BERTH', 'main') }}\"}, "
    "prod: {type: duckdb, path: harbor.duckdb, schema: prod}}}\n",
    "macros/greet.sql": "{% macro greet() %}ahoy{% endmacro %}\n",
    "seeds/ships.csv": "id\n1\n2\n",
    "models/old.sql": "select 1 as id\n",
    "models/pier.yml": "models: [{name: pier, columns: [{name: weather, data_tests: [not_null]}]}]\n",
    "models/pier.sql": """{{ config(materialized='table') }}
select '{{ var("weather") }}' as weather, '{{ env_var("TIDE", "low") }}' as tide, '{{ greet() }}' as greeting,
    '{{ target.name }}' as target, 1 as number, (select count(*) from {{ ref("ships") }}) as ships,
    '{{ run_started_at }}' as began, '{{ invocation_id }}' as invocation
""",
}
AT_FIRST = {"weather": "calm", "tide": "low", "greeting": "ahoy", "target": "dev", "number": 1, "ships": 2}
ARTIFACTS = ("manifest.json", "semantic_manifest.json", "run_results.json", "catalog.json", "graph_summary.json")
# What is of one command alone, and stands so in the text.
_OF_A_COMMAND = re.compile(
    r'"(generated_at|invocation_id|_invocation_id|invocation_started_at|run_started_at)": "[^"]*"'
    r'|"(execution_time|elapsed_time)": [\d.e-]+|"(started_at|completed_at)": "[^"]*"|"thread_id": "[^"]*"'
    r"|(?<=in )[\d.]+(?=s)"
)
# Where a model asks for its time and id.
_RENDERED = re.compile(r"'\d{4}-\d\d-\d\d [^']+' as began|'[0-9a-f-]{36}' as invocation")
_CREATED, _NOTHING = re.compile(r'"created_at": [\d.]+'), re.compile(r"(?!)")
GRAPHS = """
import json, pickle, sys
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        graph = pickle.load(file)
    print(json.dumps([list(graph.nodes(data=True)), sorted(graph.edges(data=True), key=str)], default=str))
"""


@dataclass
class Kept:
    """A project in a folder of its own, and a server that may keep it."""

    folder: Path
    reasons: list[str]

    def start(self, *, keeps: bool) -> WarmStart:
        return WarmStart(
            program=dbt_program(DBT, DBT / "bin" / "dbt"),
            idle=600,
            most=4,
            cancellation=Cancellation(),
            report=self.reasons.append,
            count=self.reasons.append,
            is_required=True,
            keeps_project=keeps,
        )

    def run(self, *words: str, keeps: bool = True, env: dict[str, str] | None = None) -> CompletedCommand:
        return run_guarded(
            [str(DBT / "bin" / "dbt"), *words],
            env={**os.environ, **VARIABLES, **(env or {})},
            cwd=self.folder,
            start=self.start(keeps=keeps),
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def state(self) -> dict[str, Any]:
        """The server's, when it has nothing to make and no command runs."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            (place,) = servers.servers()
            said = servers.state_of(place)
            # The keeper that answers is one of those that run.
            if said is not None and said["is_prepared"] and said["running"] == 0:
                return said
            time.sleep(0.05)
        raise AssertionError("the server is not done")

    def keep(self, *words: str, env: dict[str, str] | None = None) -> None:
        """Run a command until it uses what is kept."""
        for _ in range(4):
            before = self.state()["kept_uses"] if servers.servers() else 0
            done = self.run(*words, env=env)
            assert done.returncode == 0, done.lines
            if self.state()["kept_uses"] > before:
                return
        raise AssertionError("the project is not kept")

    def value(self, table: str) -> Any:
        with duckdb.connect(str(self.folder / "harbor.duckdb"), read_only=True) as database:
            return database.execute(f"select * from {table}").fetchall()  # noqa: S608 - a name of our own

    def manifest(self) -> str:
        """Without what is of one command alone."""
        text = (self.folder / "target" / "manifest.json").read_text()
        return _RENDERED.sub("-", _OF_A_COMMAND.sub("-", text))

    def row(self, table: str = "main.pier") -> dict[str, Any]:
        with duckdb.connect(str(self.folder / "harbor.duckdb"), read_only=True) as database:
            answer = database.execute(f"select * from {table}")  # noqa: S608 - as above
            (row,) = answer.fetchall()
            return dict(zip([column[0] for column in answer.description], row, strict=True))


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests of a worker: each start takes as long as a test."""
    tmp_path_factory.getbasetemp()  # or it would be made inside of the next, whose path is to be short
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as short:
        patch.setattr(tempfile, "tempdir", short)
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        try:
            yield
        finally:
            end_all_servers()


@pytest.fixture
def folder(_server: None, tmp_path: Path) -> Path:
    """For projects."""
    return tmp_path


@pytest.fixture
def harbor(folder: Path) -> Kept:
    """The example project."""
    shutil.copytree(EXAMPLE, folder / "harbor", ignore=shutil.ignore_patterns("target", "logs"))
    made = Kept(folder / "harbor", [])
    made.write(
        "profiles.yml", "harbor: {target: dev, outputs: {dev: {type: duckdb, path: harbor.duckdb, threads: 1}}}\n"
    )
    return made


@pytest.fixture
def pier(folder: Path) -> Kept:
    """A project in which much can change."""
    return made_pier(folder / "pier-0123456789abcdef")


def made_pier(folder: Path) -> Kept:
    made = Kept(folder, [])
    for name, text in PIER.items():
        made.write(name, text)
    return made


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
    return {name: _OF_A_COMMAND.sub("-", text) for name, text in found.items()}


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
        [DBT / "bin" / "python", "-c", GRAPHS, *(path for path in graphs if path.exists())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = _CREATED.sub("-", shown).splitlines()
    assert len(lines) >= 2 * (len(COMMANDS) - 3)
    assert lines[::2] == lines[1::2]


def change(kept: Kept, name: str, old: str, new: str) -> None:
    text = (kept.folder / name).read_text()
    assert old in text
    kept.write(name, text.replace(old, new))


def add_package(kept: Kept) -> None:
    kept.write("extra/dbt_project.yml", "name: extra\nversion: '1.0'\n")
    kept.write("extra/models/lantern.sql", "select 'lit' as state\n")
    kept.write("packages.yml", "packages: [{local: extra}]\n")
    kept.run("deps", keeps=False)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is changed before a command, or differs in it, and what its SQL then gives."""

    to: Callable[[Kept], object] = lambda _: None
    words: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    table: str = "main.pier"
    gives: tuple[tuple[str, Any], ...]


CHANGES = {
    "model": Change(
        to=lambda kept: change(kept, "models/pier.sql", "1 as number", "2 as number"), gives=(("number", 2),)
    ),
    "macro": Change(to=lambda kept: change(kept, "macros/greet.sql", "ahoy", "hello"), gives=(("greeting", "hello"),)),
    "yml": Change(
        to=lambda kept: change(kept, "models/pier.yml", "name: pier,", "name: pier, config: {alias: quay},"),
        table="main.quay",
        gives=(("number", 1),),
    ),
    "seed": Change(to=lambda kept: change(kept, "seeds/ships.csv", "2\n", "2\n3\n"), gives=(("ships", 3),)),
    "dbt_project.yml": Change(
        to=lambda kept: change(kept, "dbt_project.yml", "calm", "rough"), gives=(("weather", "rough"),)
    ),
    "variable": Change(words=("--vars", "{weather: foggy}"), gives=(("weather", "foggy"),)),
    "environment variable of a model": Change(env=(("TIDE", "high"),), gives=(("tide", "high"),)),
    "environment variable of the profile": Change(
        env=(("BERTH", "north"),), table="north.pier", gives=(("number", 1),)
    ),
    "target": Change(words=("--target", "prod"), table="prod.pier", gives=(("target", "prod"),)),
    "package added": Change(to=add_package, table="main.lantern", gives=(("state", "lit"),)),
    "full refresh by a variable": Change(env=(("DBT_FULL_REFRESH", "1"),), gives=(("number", 1),)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_after_a_change_the_sql_is_that_of_the_change(pier: Kept, name: str) -> None:
    changed = CHANGES[name]
    pier.keep("build")
    assert {key: pier.row()[key] for key in AT_FIRST} == AT_FIRST

    changed.to(pier)
    done = pier.run("build", *changed.words, env=dict(changed.env))

    assert done.returncode == 0, done.lines
    assert {**pier.row(changed.table), **dict(changed.gives)} == pier.row(changed.table)
    manifests = [pier.manifest()]
    pier.run("build", *changed.words, env=dict(changed.env), keeps=False)
    manifests.append(pier.manifest())
    assert manifests[0] == manifests[1]
    pier.keep("build", *changed.words, env=dict(changed.env))
    assert {**pier.row(changed.table), **dict(changed.gives)} == pier.row(changed.table)
    if changed.words or changed.env:
        pier.run("build")
        assert {key: pier.row()[key] for key in AT_FIRST} == AT_FIRST


def test_a_file_that_is_gone_is_no_model_any_more(pier: Kept) -> None:
    pier.keep("build")
    assert "pier.old" in pier.run("ls", "--quiet").lines

    (pier.folder / "models" / "old.sql").unlink()

    assert "pier.old" not in pier.run("ls", "--quiet").lines


def test_time_and_id_are_those_of_each_command(pier: Kept) -> None:
    pier.keep("build")
    before = pier.row()

    pier.keep("run")

    after, manifest = pier.row(), json.loads((pier.folder / "target" / "manifest.json").read_text())
    assert after["began"] > before["began"]
    assert after["invocation"] != before["invocation"]
    assert manifest["metadata"]["invocation_id"] == after["invocation"]


def test_a_project_is_kept_whatever_its_folder_and_each_command_reads_its_own(pier: Kept) -> None:
    pier.keep("build")
    other = made_pier(pier.folder.with_name("pier-fedcba9876543210"))
    shutil.copytree(pier.folder, other.folder, dirs_exist_ok=True)
    content = (pier.folder / "target" / PARTIAL_PARSE_FILE).read_bytes()
    (other.folder / "target" / PARTIAL_PARSE_FILE).write_bytes(moved(content, root_of(content), other.folder))
    shutil.rmtree(pier.folder / "seeds")
    before = pier.state()["kept_uses"]

    done = [other.run(command, "--full-refresh") for command in ("seed", "build")]

    assert [each.returncode for each in done] == [0, 0], done
    assert other.state()["kept_uses"] == before + 2
    named = [(other.folder / "target" / name).read_bytes() for name in ("manifest.json", "graph.gpickle")]
    assert all(os.fsencode(other.folder) in each and os.fsencode(pier.folder) not in each for each in named)


def test_it_is_used_in_the_folders_that_tasks_make_and_a_change_is_seen(pier: Kept) -> None:
    parsed = ParsedProject(project_dir=pier.folder, kept=kept_file(pier.folder.parent / "cache", ["pier"]))
    uses, numbers = [], []

    for is_changed in (False, False, False, False, True):
        if is_changed:
            change(pier, "models/pier.sql", "1 as number", "2 as number")
        with workspace(pier.folder, install_deps=False, parsed=parsed) as place:
            shutil.copy(pier.folder / "profiles.yml", place)
            task = Kept(place, [])
            artifacts = Outputs.of(place, {}).artifacts()
            done = task.run("build")
            assert done.returncode == 0, done.lines
            parsed.keep(artifacts)
            uses.append(task.state()["kept_uses"])
            numbers.append(task.row()["number"])

    assert numbers == [1, 1, 1, 1, 2]
    assert [after - before for before, after in pairwise(uses)] == [0, 1, 1, 0]


def test_a_command_that_was_killed_with_the_lock_holds_up_no_other(pier: Kept) -> None:
    pier.write(
        "models/thief.py",
        "import os, signal\n"
        "def model(dbt, session):\n"
        "    from dbt.adapters.factory import FACTORY\n"
        "    (adapter,) = FACTORY.adapters.values()\n"
        "    was_free = adapter.get_macro_resolver()._lock.acquire(timeout=1)\n"
        "    if os.environ.get('DIES'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return session.sql(f'select {was_free} as was_free')\n",
    )
    pier.keep("build")

    killed = pier.run("run", "--select", "thief", env={"DIES": "1"})
    pier.keep("run", "--select", "thief")

    assert killed.returncode == -signal.SIGKILL
    assert pier.row("main.thief") == {"was_free": True}


def test_two_commands_at_once_share_what_is_kept(pier: Kept) -> None:
    pier.keep("build")
    before = pier.state()["kept_uses"]

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: pier.run("ls", "--quiet"), range(6)))

    assert {tuple(each.lines) for each in done} == {tuple(done[0].lines)}
    assert "pier.pier" in done[0].lines
    assert pier.state()["kept_uses"] == before + 6
    (place,) = servers.servers()
    # Python starts a process that minds semaphores for whoever makes one that other processes may open.
    assert {each.name() for each in psutil.Process(place.note()["pid"]).children()} <= {"dbt-warm-keeper"}


def test_a_parse_file_of_another_release_is_not_used(pier: Kept) -> None:
    pier.keep("build")
    file = pier.folder / "target" / PARTIAL_PARSE_FILE
    release = next(line for line in pier.run("--version").lines if "installed" in line).split()[-1].encode()
    content = file.read_bytes()
    assert release in content
    file.write_bytes(content.replace(release, b"1.11.99"[: len(release)].ljust(len(release), b"9")))
    before = pier.state()["kept_uses"]

    done = pier.run("build")

    assert "version mismatch" in "\n".join(done.lines)
    assert pier.state()["kept_uses"] == before


def test_where_it_is_switched_off_nothing_is_kept(short_folder: Path, pier: Kept) -> None:
    """With a server of its own."""
    pier.run("build", keeps=False)
    before = pier.state()

    for _ in range(3):
        assert pier.run("build", keeps=False).returncode == 0

    after = pier.state()
    assert (after["kept_bytes"], after["kept_uses"]) == (0, 0)
    assert after["memory_bytes"] - before["memory_bytes"] < 2 << 20
