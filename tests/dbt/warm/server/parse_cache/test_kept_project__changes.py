"""After each change the SQL is that of the change, and ids and times are those of each command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE
from tests.dbt.warm.server.parse_cache.project import AT_FIRST, MARKS, Kept, change

pytestmark = MARKS


def add_package(kept: Kept) -> None:
    kept.write("extra/dbt_project.yml", "name: extra\nversion: '1.0'\n")
    kept.write("extra/models/lantern.sql", "select 'lit' as state\n")
    kept.write("packages.yml", "packages: [{local: extra}]\n")
    kept.run("deps", keeps=False)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change before a command, or a difference in it, and the result of its SQL then."""

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

BEFORE_LANDING = {"model", "yml", "variable", "target", "environment variable of the profile", "package added"}
"""Of a file's text and its settings, of the command's arguments and environment, and of the project's files."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in BEFORE_LANDING else pytest.mark.exhaustive) for name in CHANGES]
)
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


# A plugin of dbt gets the manifest after it was written for the first time, and may change it.
PLUGIN = """
from dbt.plugins import dbtPlugin, dbt_hook

class Marks(dbtPlugin):
    @dbt_hook
    def get_manifest_artifacts(self, manifest):
        manifest.nodes["model.pier.pier"].description = "marked by a plugin"
        manifest.nodes["model.pier.pier"].depends_on.nodes.append("model.pier.old")
        return {}

plugins = [Marks]
"""


def test_what_a_plugin_of_dbt_changes_is_written(short_folder: Path, pier: Kept) -> None:
    """The server is its own, so that it finds the plugin."""
    pier.write("plugin/dbt_marks.py", PLUGIN)
    env = {"PYTHONPATH": str(pier.folder / "plugin")}
    pier.run("build", env=env)
    pier.keep("run", env=env)

    graph = (pier.folder / "target" / "graph.gpickle").read_bytes()
    assert b"marked by a plugin" in graph
    (old,) = [node for node in pier.artifact("graph_summary")["linked"].values() if node["name"] == "model.pier.old"]
    assert len(old["succ"]) == 1


def test_a_file_that_is_gone_is_no_model_any_more(pier: Kept) -> None:
    pier.keep("build")
    assert "pier.old" in pier.run("ls", "--quiet").lines

    (pier.folder / "models" / "old.sql").unlink()

    assert "pier.old" not in pier.run("ls", "--quiet").lines


def test_time_and_id_are_those_of_each_command(pier: Kept) -> None:
    pier.keep("build")
    before = pier.row()

    uses, began = pier.state()["kept_uses"], datetime.now(timezone.utc)
    pier.run("run")
    ended = datetime.now(timezone.utc)

    assert pier.state()["kept_uses"] == uses + 1
    after, metadata = pier.row(), [pier.artifact(name)["metadata"] for name in ("manifest", "run_results")]
    assert after["began"] > before["began"]
    assert after["invocation"] != before["invocation"]
    assert {each["invocation_id"] for each in metadata} == {after["invocation"]}
    assert pier.artifact("graph_summary")["_invocation_id"] == after["invocation"]
    # dbt itself keeps the manifest's invocation_started_at of the command that has parsed.
    said = [after["began"], *(each["generated_at"] for each in metadata), metadata[1]["invocation_started_at"]]
    times = [datetime.fromisoformat(each.replace("Z", "+00:00")) for each in said]
    assert all(began <= each <= ended for each in times), f"{began} {ended} {said}"


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
