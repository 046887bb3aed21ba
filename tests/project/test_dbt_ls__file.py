"""The nodes of a file that dbt ls has written, and the errors about other files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.dbt_ls import nodes_of_file
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.project.node_entry import ProjectFolders

PROJECT = Path(__file__).parent.parent / "data" / "rendering-project"
FOLDERS = ProjectFolders(project=PROJECT, root_package="harbor_ops")


def graph(path: Path | None, project: Path = PROJECT, **render: Any) -> DbtGraph:
    return DbtGraph(
        project=ProjectConfig(project),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS_FILE, dbt_ls_path=path, **render),
    )


def test_the_nodes_are_those_of_the_manifest_and_no_dbt_is_needed() -> None:
    made = graph(PROJECT / "dbt_ls.jsonl")

    made.load()

    assert made.load_method is LoadMode.DBT_LS_FILE
    by_manifest = Manifest(PROJECT / "manifest.json").nodes(project_path=PROJECT)
    assert set(made.nodes) == set(by_manifest) - {"analysis.harbor_ops.busiest_port"}
    assert made.filtered_nodes == made.nodes
    assert made.tests_per_model["seed.harbor_ops.raw_ports"]


def test_a_file_without_edges_is_refused_and_no_dag_without_order(tmp_path: Path) -> None:
    line = {"name": "a", "unique_id": "model.shop.a", "resource_type": "model", "original_file_path": "models/a.sql"}
    (tmp_path / "ls.jsonl").write_text(json.dumps(line))

    with pytest.raises(CosmosLoadDbtException, match=r"does not say depends_on .*--output-keys name .*depends_on"):
        nodes_of_file(tmp_path / "ls.jsonl", FOLDERS)


@pytest.mark.parametrize("name", ["select", "exclude", "selector"])
def test_a_selection_is_refused_and_not_ignored(name: str) -> None:
    given: dict[str, Any] = {name: "marts" if name == "selector" else ["marts"]}

    with pytest.raises(CosmosLoadDbtException, match=rf"{name}=.* does not go with LoadMode\.DBT_LS_FILE: .* `dbt ls`"):
        graph(PROJECT / "dbt_ls.jsonl", **given).load()


def test_the_mode_needs_a_file() -> None:
    with pytest.raises(CosmosLoadDbtException, match=r"needs RenderConfig\.dbt_ls_path"):
        graph(None).load()


def test_the_project_need_not_be_there(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "dbt_ls.jsonl", tmp_path)

    made = graph(tmp_path / "dbt_ls.jsonl", tmp_path / "nowhere")
    made.load()

    assert len(made.nodes) == 31
    assert {node.path_base for node in made.nodes.values()} == {tmp_path / "nowhere"}


LINE = (PROJECT / "dbt_ls.jsonl").read_bytes().splitlines()[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", r"ls\.jsonl is empty", id="empty"),
        pytest.param(b" \n", r"ls\.jsonl is empty", id="blank"),
        pytest.param(b"07:56:14  Nothing to do.\n", r"ls\.jsonl holds no node", id="only-log"),
        pytest.param(b"[1, 2]\n3\nnull\n{}\n", r"ls\.jsonl holds no node", id="other-json"),
        pytest.param(b'{"unique_id": "model.shop.a"}', r"ls\.jsonl holds no node", id="no-resource-type"),
        pytest.param(LINE[:300], r"Line 1 of .*ls\.jsonl is a node that cannot be read: .*truncated", id="cut-off"),
        pytest.param(LINE + b"\n" + LINE[:20], r"Line 2 of .*truncated", id="cut-off-before-its-id"),
        pytest.param(
            b"\n" + LINE.replace(b'"tags": [', b'"tags": [3, '), "Line 2 of .*Expected `str`", id="other-kind"
        ),
        pytest.param(LINE.replace(b".harbor_ops.", b"."), "Line 1 of .*is not <type>.<package>.<name>", id="id"),
        pytest.param(LINE.decode().encode("utf-16"), r"ls\.jsonl is UTF-16", id="utf-16"),
        pytest.param(LINE.decode().encode("utf-16-le"), r"ls\.jsonl is UTF-16", id="utf-16-without-mark"),
        pytest.param(b'{"unique_id": "\xff"}', r"ls\.jsonl is not UTF-8", id="not-utf8"),
    ],
)
def test_a_file_that_holds_no_nodes_is_named_with_fault_and_way_out(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "ls.jsonl"
    path.write_bytes(content)

    with pytest.raises(CosmosLoadDbtException, match=words):
        nodes_of_file(path, FOLDERS)
