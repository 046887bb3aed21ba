"""A project's files, read without dbt: the nodes are those that dbt makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.custom import parse_project
from cosmos_venv.project.node_entry import NodeEntry

DATA = Path(__file__).resolve().parents[2] / "data"
# Projects of which dbt has written a manifest.
RECORDED = {
    "rendering": (DATA / "rendering-project", DATA / "rendering-project" / "manifest.json"),
    "selection": (DATA / "selection" / "project", DATA / "selection" / "manifest.json"),
}
Write = Callable[[str, str], None]


def parsed(project: Path, **variables: object) -> dict[str, NodeEntry]:
    return parse_project(project, variables=variables, environment={"HARBOR": "north"}, folders={}).entries


def told_by_dbt(manifest: Path) -> dict[str, dict[str, Any]]:
    content = json.loads(manifest.read_text())
    sections = ("nodes", "sources", "exposures", "unit_tests")
    entries = {unique_id: entry for section in sections for unique_id, entry in content[section].items()}
    return {unique_id: entry for unique_id, entry in entries.items() if entry["resource_type"] != "analysis"}


def compared(entry: dict[str, Any]) -> dict[str, Any]:
    config = entry.get("config") or {}
    names = ("resource_type", "package_name", "original_file_path", "fqn", "name", "source_name", "access", "version")
    freshness = {
        key: {part: value for part, value in age.items() if value is not None}
        for key, age in (entry.get("freshness") or {}).items()
        if key != "filter" and age
    }
    return {
        **{name: entry.get(name) for name in (*names, "latest_version")},
        **{name: config.get(name) for name in ("materialized", "group", "schema", "severity")},
        "meta": config.get("meta") or {},
        "tags": sorted(entry.get("tags") or config.get("tags") or []),
        "test": (entry.get("test_metadata") or {}).get("name"),
        "reads": sorted((entry.get("depends_on") or {}).get("nodes") or []),
        "freshness": {key: age for key, age in freshness.items() if age},
    }


def as_mapping(entry: NodeEntry) -> dict[str, Any]:
    told = {name: getattr(entry, name) for name in entry.__struct_fields__}
    metadata = {"name": entry.test_metadata.name} if entry.test_metadata else None
    return {**told, "depends_on": {"nodes": entry.depends_on and entry.depends_on.nodes}, "test_metadata": metadata}


@pytest.mark.parametrize(("project", "manifest"), RECORDED.values(), ids=RECORDED)
def test_the_nodes_of_two_projects_are_those_of_dbts_manifest_ids_and_all(project: Path, manifest: Path) -> None:
    told = told_by_dbt(manifest)

    found = parsed(project)

    assert sorted(found) == sorted(told)
    for unique_id, entry in told.items():
        assert {unique_id: compared(as_mapping(found[unique_id]))} == {unique_id: compared(entry)}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    write("dbt_project.yml", "name: shop\n")
    return write


def reads(entries: dict[str, NodeEntry], name: str) -> list[str]:
    depends_on = entries[f"model.shop.{name}"].depends_on
    assert depends_on is not None
    return [each.removeprefix("model.shop.") for each in depends_on.nodes or []]


def test_two_files_of_one_node_are_refused_unless_one_is_disabled(write: Write, tmp_path: Path) -> None:
    write("models/x/a.sql", "select 1")
    write("models/y/a.sql", "select 2")
    with pytest.raises(CosmosLoadDbtException, match=r"x/a\.sql and .*y/a\.sql both make model\.shop\.a"):
        parsed(tmp_path)

    write("models/y/a.sql", "{{ config(enabled=false) }}")
    assert list(parsed(tmp_path)) == ["model.shop.a"]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("models/a.sql", "select\n{{ ref('a' }}", r"models/a\.sql, line 2: unexpected '}'"),
        ("models/a.py", "def model(dbt, session)\n", r"models/a\.py, line 1: no Python"),
        ("models/a.yml", "models: [", r"models/a\.yml cannot be read as YAML"),
        ("models/a.yml", "models: {name: a}\n", r"models/a\.yml: models is .* Write a list"),
        ("models/a.sql", f"{{{{ ref({' + '.join(['1'] * 5_000)}) }}}}", r"models/a\.sql: it is nested too deeply\. "),
        ("dbt_project.yml", "version: 1\n", r"dbt_project\.yml says no name"),
        ("README.md", "nothing else", r"The files of the dbt project .* make no node"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    write: Write, tmp_path: Path, file: str, text: str, words: str
) -> None:
    write(file, text)

    with pytest.raises(CosmosLoadDbtException, match=words):
        parsed(tmp_path)
