"""The fake dbt lists and selects the nodes that the real one lists and selects, with the same facts."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.fake_dbt.command_line import Invocation
from pytest_cosmos_venv.fake_dbt.log import Log
from pytest_cosmos_venv.fake_dbt.packages import Packages
from pytest_cosmos_venv.fake_dbt.project import LISTED, read_project
from tests.engines import DBT_1
from tests.installed import ROOT
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Dbt, write_project
from tests.rendering.asked_dbt import AskedDbt, ProjectRefused, asked_dbt
from tests.rendering.drawn_projects import WORDS, DrawnProject, drawn_projects

PROFILE = "{target: dev, outputs: {dev: {type: duckdb, path: ':memory:', schema: main}}}"
KEYS = ("fqn", "path", "group", "version", "test_metadata", "column_name", "attached_node", "freshness", "schema")
UNKNOWN = ("analysis.", "function.", "metric.", "saved_query.", "semantic_model.")
UNREAD = {
    "kinds-project": [
        "functions of shop",
        "metrics in models/more.yml",
        "semantic_models in models/more.yml",
        "saved_queries in models/more.yml",
    ]
}
ODD = {
    "packages.yml": "packages:\n  - package: dbt-labs/dbt_utils\n    version: 1.0.0\n",
    "macros/all.sql": "{% macro union_all() %} select * from {{ ref('orders') }} {% endmacro %}",
    "models/odd.sql": "{{ union_all() }} {% for name in run_query('x') %}{{ ref(name) }}{% endfor %}",
}
EXPOSURE = """
exposures:
  - {name: board, type: dashboard, owner: {name: crew}, depends_on: [ref('totals')]}
"""
SELECTIONS = (
    *([word] for word in WORDS),
    *(["orders", "--indirect-selection", mode] for mode in ("cautious", "buildable", "empty")),
    ["source:*"],
    ["source:raw.late+"],
    ["@orders"],
    ["2+stg_orders+1"],
    ["voyages"],
    ["voyages.v1", "unit_test:*"],
    ["config.materialized:table", "test_name:unique"],
    ["exposure:board", "group:crew", "package:shop"],
    ["*", "--exclude", "orders+", "test_type:unit"],
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedDbt]:
    with asked_dbt(DBT_1, tmp_path_factory.mktemp("dbt") / "environment") as found:
        yield found


def projects() -> list[Path]:
    """Projects with a profile; those without are packages."""
    files = [file for place in ("examples", "tests/data") for file in ROOT.joinpath(place).rglob("dbt_project.yml")]
    return sorted(file.parent for file in files if re.search("^profile:", file.read_text(), re.MULTILINE))


def copied(project: Path, folder: Path) -> Path:
    """A copy of the project and of what lies beside it, with a profile in it."""
    shutil.copytree(project.parent, folder)
    copy = folder / project.name
    profile = re.findall(r"^profile: *['\"]?(\w+)", (copy / "dbt_project.yml").read_text(), re.MULTILINE)
    (copy / "profiles.yml").write_text(f"{profile[0]}: {PROFILE}\n", encoding="utf-8")
    return copy


@pytest.mark.long
@pytest.mark.parametrize("project", projects(), ids=lambda project: project.name)
def test_the_fake_lists_every_node_of_a_project_as_dbt_does(project: Path, tmp_path: Path, asked: AskedDbt) -> None:
    folder = copied(project, tmp_path / "copy")
    Packages(folder).install(Log(Invocation(["deps"]), silent=True))

    unread = assert_alike(folder, asked)

    assert unread == UNREAD.get(project.name, [])


@pytest.mark.long
@settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # to make an example smaller takes dbt minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(project=drawn_projects())
def test_the_fake_lists_every_node_of_a_drawn_project_as_dbt_does(
    project: DrawnProject, tmp_path: Path, asked: AskedDbt
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        folder = Path(name, "shop")
        project.write(folder)

        try:
            unread = assert_alike(folder, asked)
        except ProjectRefused:
            unread = assume(False)

        assert unread == []


@pytest.mark.parametrize("version", ["1.11.0", "2.0.0a4"])
def test_parse_writes_every_node_that_ls_lists(cosmos_fake_venv: FakeVenv, tmp_path: Path, version: str) -> None:
    venv = cosmos_fake_venv(dbt_version=version)
    dbt = Dbt(venv.dbt, write_project(tmp_path / "shop"))
    dbt.project.joinpath("models/board.yml").write_text(EXPOSURE, encoding="utf-8")
    venv.script(nodes={"test.shop.not_null_orders_id.0123456789": "pass"})
    listed = dbt.run("--quiet", "ls", "--output", "json", "--output-keys", "unique_id")
    dbt.target.joinpath("manifest.json").unlink()

    answer = dbt.run("parse", "--no-partial-parse")

    assert answer.exit_code == 0
    manifest = json.loads(dbt.target.joinpath("manifest.json").read_text(encoding="utf-8"))
    written = {name for part in ("nodes", "sources", "exposures", "unit_tests") for name in manifest[part]}
    assert written == {json.loads(line)["unique_id"] for line in listed.stdout.splitlines()}
    assert {name.partition(".")[0] for name in written} >= {"snapshot", "source", "test", "exposure"}


def test_nodes_of_yaml_run_and_are_reported(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    dbt = Dbt(cosmos_fake_venv.dbt, write_project(tmp_path / "shop"))
    cosmos_fake_venv.script("build", nodes={"bad": "fail"})

    answer = dbt.run("--log-format", "json", "build", "-s", "piers_copy")

    rows = json.loads((dbt.target / "run_results.json").read_text(encoding="utf-8"))["results"]
    names = {row["unique_id"].split(".")[2]: row["status"] for row in rows}
    assert names == {"piers_copy": "success", "unique_piers_copy_id": "pass", "odd": "pass", "bad": "fail"}
    events = [json.loads(line) for line in answer.stdout.splitlines()]
    ended = {each["data"]["node_info"]["unique_id"] for each in events if each["info"]["name"] == "LogTestResult"}
    assert ended == {row["unique_id"] for row in rows if row["unique_id"].startswith("test.")}
    assert answer.exit_code == 1


def test_what_the_fake_cannot_read_is_one_warning_of_the_test(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    dbt = Dbt(cosmos_fake_venv.dbt, write_project(tmp_path / "shop"))
    for name, text in ODD.items():
        (dbt.project / name).parent.mkdir(parents=True, exist_ok=True)
        (dbt.project / name).write_text(text, encoding="utf-8")

    dbt.run("deps")
    dbt.run("ls")
    dbt.run("run")

    with pytest.warns(pytest.PytestWarning) as warned:
        cosmos_fake_venv.close()
    (warning,) = warned
    assert str(warning.message).startswith(
        "The fake dbt cannot read the package dbt_utils, which is not installed but for its name; "
        "ref(name) in models/odd.sql. "
    )
    cosmos_fake_venv.forget()


def assert_alike(folder: Path, asked: AskedDbt) -> list[str]:
    """Nodes and facts are those of the manifest, and each selection has the nodes that dbt says; what is unread."""
    listed, *answers = asked.ask(folder, [["all"], *(["all", "--select", *words] for words in SELECTIONS)])
    manifest = json.loads((folder / "target" / "manifest.json").read_text(encoding="utf-8"))
    parts = ("nodes", "sources", "exposures", "unit_tests")
    real = {name: each for part in parts for name, each in manifest[part].items() if name in known(listed)}

    project = read_project(folder)

    ours = {node.unique_id: node.entry for node in project.nodes}
    assert sorted(ours) == sorted(real)
    for name, entry in real.items():
        assert facts(ours[name], entry) == facts(entry, ours[name]), name
    for words, answer in zip(SELECTIONS, answers, strict=True):
        found = project.work(Invocation(["ls", "--select", *words]), with_added=False)
        assert sorted(node.unique_id for node in found) == known(answer), words
    return project.unread


def known(unique_ids: list[str]) -> list[str]:
    """Those of kinds that the fake knows; dbt itself lists no analyses unless it is asked for them."""
    return sorted(each for each in unique_ids if not each.startswith(UNKNOWN))


def facts(entry: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What the fake promises of a node: of configurations those that both have, of references the nodes, and all tags.

    dbt gives tags and sources in any order, and writes each default that it has.
    """
    found = {key: entry[key] for key in (*LISTED, *KEYS) if entry.get(key) is not None}
    config = in_common(found["config"], other["config"])
    depends_on = {"nodes": known(nodes)} if (nodes := found.get("depends_on", {}).get("nodes")) is not None else {}
    if "tags" in found:
        found["tags"] = sorted(set(found["tags"]))
        config["tags"] = sorted(set(config.get("tags", ())))
    return {**found, "config": config, "depends_on": depends_on}


def in_common(config: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that another one has too, also those below them."""
    return {
        key: in_common(value, other[key]) if isinstance(value, dict) and isinstance(other[key], dict) else value
        for key, value in config.items()
        if key in other
    }
