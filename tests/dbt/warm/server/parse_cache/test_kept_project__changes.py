"""After each change the SQL is that of the change, and ids and times are those of each command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.partial_parse import ParsedProject, kept_file
from cosmos_venv.dbt.workspace import Outputs, workspace
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
    "variable": Change(words=("--vars", "{weather: foggy}"), gives=(("weather", "foggy"),)),
    "target": Change(words=("--target", "prod"), table="prod.pier", gives=(("target", "prod"),)),
    "package added": Change(to=add_package, table="main.lantern", gives=(("state", "lit"),)),
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


def test_where_it_is_switched_off_nothing_is_kept(short_folder: Path, pier: Kept) -> None:
    """The server is its own: its state is compared."""
    pier.run("build", keeps=False)
    before = pier.state()

    for _ in range(3):
        assert pier.run("build", keeps=False).returncode == 0

    after = pier.state()
    assert (after["kept_bytes"], after["kept_uses"]) == (0, 0)
    assert after["memory_bytes"] - before["memory_bytes"] < 2 << 20
