"""The command of dbt ls, and the reading of its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cosmos_venv.config import RenderConfig
from cosmos_venv.project.dbt_ls import listed_ids, nodes_of_file
from cosmos_venv.project.dbt_ls_runner import ls_arguments
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.node_entry import ProjectFolders

NODE = {
    "name": "a",
    "unique_id": "model.shop.a",
    "resource_type": "model",
    "package_name": "shop",
    "depends_on": {"macros": [], "nodes": ["seed.shop.raw"]},
    "original_file_path": "models/a.sql",
    "tags": ["x"],
    "config": {"materialized": "view"},
    "fqn": ["shop", "a"],
}
AROUND = [
    "\x1b[0m07:56:14  Running with dbt=1.11.16",
    '{"info": {"name": "MainReportVersion"}, "data": {"unique_id": "model.shop.b", "resource_type": "model"}}',
    "[1, 2]",
    "",
]


def test_the_whole_project_is_asked_for_as_a_manifest() -> None:
    assert ls_arguments(None) == ["ls", "--output", "name", "--write-json"]


def test_selection_variables_and_parsing_are_handed_to_dbt() -> None:
    render = RenderConfig(select=["tag:daily", "+orders"], exclude=["raw"])

    arguments = ls_arguments(render, dbt_vars={"b": 1, "a": "x"}, is_partial=False)

    assert arguments[6:] == [
        "--exclude",
        "raw",
        "--select",
        "tag:daily",
        "+orders",
        "--vars",
        '{"a": "x", "b": 1}',
        "--no-partial-parse",
    ]


def test_a_selector_is_handed_to_dbt_alone() -> None:
    """dbt 1 does not count the others beside it, dbt 2 refuses ``--select`` and counts ``--exclude``."""
    render = RenderConfig(select=["tag:daily"], exclude=["raw"], selector="nightly")

    assert ls_arguments(render)[6:] == ["--selector", "nightly"]


def test_log_lines_around_the_ids_are_passed_over() -> None:
    in_log = json.dumps({"info": {"msg": json.dumps(NODE)}, "data": {}})

    assert listed_ids([*AROUND, '{"unique_id": "model.shop.c", "resource_type": "model"}', in_log]) == {
        "model.shop.a",
        "model.shop.c",
    }


def read(folder: Path, *lines: str, root: str | None = None, **node: Any) -> dict[str, DbtNode]:
    path = folder / "ls.jsonl"
    path.write_text("\n".join([*lines, json.dumps({**NODE, **node})]))
    return nodes_of_file(path, ProjectFolders(project=Path("/srv/shop"), root_package=root))


def test_log_lines_around_the_nodes_of_a_file_are_passed_over(tmp_path: Path) -> None:
    assert list(read(tmp_path, *AROUND)) == ["model.shop.a"]


def test_a_node_has_what_dbt_says_of_it(tmp_path: Path) -> None:
    node = read(tmp_path)["model.shop.a"]

    assert (node.depends_on, node.tags, node.fqn) == (["seed.shop.raw"], ["x"], ["shop", "a"])
    assert node.file_path == Path("/srv/shop/models/a.sql")
    assert node.config == {"materialized": "view"}


def test_files_of_packages_lie_in_the_packages_folder(tmp_path: Path) -> None:
    assert read(tmp_path, root="harbor")["model.shop.a"].file_path == Path("/srv/shop/dbt_packages/shop/models/a.sql")


def test_tags_of_a_unit_test_come_from_its_configuration(tmp_path: Path) -> None:
    unit_test = {"unique_id": "unit_test.shop.a.counts", "resource_type": "unit_test", "tags": None}

    nodes = read(tmp_path, **unit_test, config={"tags": "slow"})

    assert nodes["unit_test.shop.a.counts"].tags == ["slow"]
