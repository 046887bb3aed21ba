"""A server makes of a parse file exactly what dbt reads from it, and needs nothing of a command or of the project."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.dbt.warm.process import DBT
from cosmos_venv.dbt.warm.server import forked_command
from cosmos_venv.dbt.warm.server.parse_cache import kept_project, manifest_reuse
from cosmos_venv.dbt.warm.server.parse_cache.kept_project import is_named_in_these_alone
from cosmos_venv.processes import guard
from tests.installed import ENVIRONMENTS, copy_of_example, environment_of

RELEASES = ["dbt111", pytest.param("dbt110", marks=pytest.mark.exhaustive)]

BEGIN = """
import json, multiprocessing.synchronize, multiprocessing.resource_tracker as tracker, os, sys, types
package = types.ModuleType("cosmos_venv"); package.__path__ = [sys.argv[1]]; sys.modules["cosmos_venv"] = package
from cosmos_venv.dbt.warm.server import dbt_internals, warm_up
from cosmos_venv.dbt.warm.server.parse_cache import kept_project, kept_projects, manifest_reuse
warm_up.import_all(dict.fromkeys(sys.argv[2].split(","), False), ["dbt.adapters"])
from dbt.adapters.factory import FACTORY
with open(sys.argv[3], "rb") as file:
    content = file.read()

def made(projects, content):
    projects.offer(content)
    return finished(projects)

def finished(projects):
    while projects.is_making:
        step(projects)
    return len(projects.ready)

def step(projects):
    try:
        projects.take_step()
    except StopIteration:
        pass

def packed(parts, **changed):
    from dbt.parser.manifest import extended_mashumaro_encoder
    return extended_mashumaro_encoder({**parts, **changed})
"""

READ = (
    BEGIN
    + """
projects = kept_projects.KeptProjects()
with warm_up.variables_read() as read:
    made(projects, content)
(project,) = projects.ready
started = tracker._resource_tracker._pid
from dbt_common.events import functions
of_a_process = [functions.metadata_vars, *FACTORY.adapters, *FACTORY.plugins]

Manifest, decoder = dbt_internals.manifest_class(), dbt_internals.decoder()
other = project.root[:-1] + b"X"
elsewhere = content.replace(project.root, other)
found = {}
for name, content, root in (("same", content, project.root), ("moved", elsewhere, project.moved_root(elsewhere))):
    required = Manifest.from_msgpack(content, decoder=decoder)
    given = Manifest.from_msgpack(b"", decoder=lambda _: project.rest)
    project.hand_over(given, root)
    is_same = given.to_msgpack() == required.to_msgpack()
    required.build_flat_graph()
    found[name] = [
        is_same,
        project.flat_graph == required.flat_graph,
        given._lock is not required._lock,
        root.decode(),
    ]
print(json.dumps({"read": sorted(read), "tracker": started, "of_a_process": of_a_process, "found": found,
                  "strange": [project.moved_root(each) for each in (content + b"x", content[:-1], b"")],
                  "root": project.root.decode(), "is_graph_movable": project.is_graph_movable}))
"""
)

REFUSE = (
    BEGIN
    + """
import functools, msgpack
parts = dbt_internals.decoder()(content)
packed = functools.partial(packed, parts)
numbers = {}
def tried(name, content):
    projects = kept_projects.KeptProjects()
    numbers[name] = made(projects, content)
tried("whole", packed())
tried("cut short", content[:-100])
tried("no parse file", msgpack.packb([1, 2]))
metadata = dict(parts["metadata"]); del metadata["invocation_id"]
tried("no invocation", packed(metadata=metadata))
tried("strange nodes", packed(nodes={"model.a.b": {"name": 1}}))
kept_projects.LARGEST = len(content) - 1
tried("too large", content)
kept_projects.LARGEST = 2 * len(content)
projects = kept_projects.KeptProjects()
for number in range(4):
    made(projects, packed(selectors={"number": number}))
numbers["four projects"] = len(projects.ready)
numbers["known before"] = projects.uses
newest = [each.rest["selectors"]["number"] for each in projects.ready]
projects.forget_unused(0.0)
numbers["forgotten"] = len(projects.ready)
import dbt.version
before, dbt.version.__version__ = dbt.version.__version__, "1.12.0"
tried("newer release", content)
dbt.version.__version__ = before
dbt_internals.linker_class().link_graph = lambda self, manifest, other: None
tried("other function", content)
print(json.dumps({"numbers": numbers, "newest": newest}))
"""
)

# Each content is offered three times: at first, while it is made, and for another folder.
OFFERED_AGAIN = (
    BEGIN
    + """
parts = dbt_internals.decoder()(content)
strange = {**parts["nodes"], "model.a.b": {"name": 1}}
first, again, broken = packed(parts, selectors={"number": 1}), packed(parts, selectors={"number": 2}), packed(
    parts, nodes=strange)
root = sys.argv[4].encode()
projects, seen = kept_projects.KeptProjects(), []
made(projects, first)
for each in (again, broken):
    projects.offer(each)
    projects.offer(each.replace(root, root[:-1] + b"X"))
    for _ in range(2):
        step(projects)
        projects.offer(each)
        projects.offer(each.replace(root, root[:-1] + b"X"))
    finished(projects)
    projects.offer(each)
    projects.offer(each.replace(root, root[:-1] + b"X"))
    seen.append([projects.is_making, [project.rest["selectors"]["number"] for project in projects.ready]])
    seen[-1].append(len(projects.reasons))
    finished(projects)
for number in range(20):
    made(projects, content + bytes([number]))
print(json.dumps({"seen": seen, "reasons": len(projects.reasons), "longest": max(map(len, projects.reasons)),
                  "large": len(projects.ready)}))
"""
)

# The root stands in a description too: whether that is meant to move nobody knows.
MEANT = (
    BEGIN
    + """
projects = kept_projects.KeptProjects()
made(projects, content)
(project,) = projects.ready
print(json.dumps([project.root.decode(), project.moved_root(content) is not None]))
"""
)


def _parsed(release: str, folder: Path, description: str = "") -> Path:
    """A parse file of the example project, as that release writes it."""
    environment = environment_of(release)
    project = copy_of_example(folder / "harbor")
    (project / "profiles.yml").write_text("harbor: {target: dev, outputs: {dev: {type: duckdb, path: h.duckdb}}}\n")
    (project / "models" / "more.md").write_text("{% docs more %}" + description + " {% enddocs %}\n")
    words = [str(environment / "bin" / "dbt"), "parse", "--profiles-dir", "."]
    env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    subprocess.run(words, cwd=project, env=env, check=True, stdout=subprocess.DEVNULL)
    return project / "target" / "partial_parse.msgpack"


def _said(release: str, code: str, file: Path) -> Any:
    words = [str(Path(guard.__file__).parents[1]), ",".join(DBT), str(file), str(file.parents[1])]
    done = subprocess.run(
        [ENVIRONMENTS / release / "bin" / "python", "-Bc", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.parametrize("release", RELEASES)
def test_what_is_kept_is_what_dbt_reads_wherever_the_project_stands(release: str, tmp_path: Path) -> None:
    file = _parsed(release, tmp_path)

    said = _said(release, READ, file)

    root = str(tmp_path / "harbor")
    assert said["root"] == root
    assert said["found"] == {"same": [True, True, True, root], "moved": [True, True, True, root[:-1] + "X"]}
    assert said["strange"] == [None, None, None]
    assert said["is_graph_movable"]


@pytest.mark.long
@pytest.mark.parametrize("release", RELEASES)
def test_making_it_asks_for_no_variable_and_makes_no_lock_or_adapter(release: str, tmp_path: Path) -> None:
    file = _parsed(release, tmp_path)

    said = _said(release, READ, file)

    assert said["read"] == []
    assert said["tracker"] is None
    assert said["of_a_process"] == [None]


@pytest.mark.long
def test_what_cannot_be_read_or_is_not_known_is_not_kept(tmp_path: Path) -> None:
    file = _parsed("dbt111", tmp_path)

    said = _said("dbt111", REFUSE, file)

    assert said["numbers"] == {
        **dict.fromkeys(("cut short", "no parse file", "no invocation", "strange nodes", "too large"), 0),
        **dict.fromkeys(("known before", "forgotten", "newer release", "other function"), 0),
        "whole": 1,
        "four projects": 2,
    }
    assert said["newest"] == [2, 3]


@pytest.mark.long
@pytest.mark.parametrize("description", ["", "named"])
def test_what_is_offered_again_is_made_once_and_drops_no_other_project(tmp_path: Path, description: str) -> None:
    """It holds, too, where the file may be given out for its own folder alone, as a description names that."""
    file = _parsed("dbt111", tmp_path, description=str(tmp_path / "harbor") if description else "")

    said = _said("dbt111", OFFERED_AGAIN, file)

    assert said["seen"] == [[False, [1, 2], 0], [False, [1, 2], 1]]
    assert (said["reasons"], said["large"]) == (8, 2)
    assert said["longest"] <= 200


@pytest.mark.long
def test_a_file_that_names_its_folder_elsewhere_too_is_kept_for_that_folder_alone(tmp_path: Path) -> None:
    file = _parsed("dbt111", tmp_path, description=str(tmp_path / "harbor"))

    assert _said("dbt111", MEANT, file) == ["", True]


@pytest.mark.parametrize(("beyond", "told"), [(0, kept_project.LARGEST + 1), (1, 0)])
def test_a_parse_file_that_is_too_large_is_not_told_at_all(beyond: int, told: int) -> None:
    report = forked_command.new_report()
    assert report is not None
    try:
        command = manifest_reuse._Command([], report)
        command.manifest, command.content = object(), bytes(kept_project.LARGEST + beyond)

        command._loading(lambda _: command.manifest)(SimpleNamespace(skip_parsing=True))

        assert os.fstat(report).st_size == told
    finally:
        os.close(report)


def test_a_graph_is_moved_where_its_folder_is_named_in_the_known_fields_alone() -> None:
    place, other = "/srv/pier", "".join(["/srv", "/pier"])  # two objects, of which a pickle writes each once
    nodes: list[dict[str, str | None]] = [
        {"root_path": place},
        {"root_path": other},
        {"root_path": place},
        {"root_path": None},
    ]
    texts = [node["root_path"] or "" for node in nodes]
    named, root = [*nodes, {"description": "stands in /srv/pier"}], place.encode()

    assert is_named_in_these_alone(pickle.dumps(nodes), root, texts)
    assert not is_named_in_these_alone(pickle.dumps(named), root, texts)
    assert not is_named_in_these_alone(pickle.dumps(nodes), b"", texts)
