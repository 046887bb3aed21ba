"""The command of dbt ls, and the reading of its output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.dbt_ls import LS_OUTPUT_KEYS, ls_arguments, parse_dbt_ls_output

NODE = (
    '{"name": "a", "unique_id": "model.shop.a", "resource_type": "model", "package_name": "shop", '
    '"depends_on": {"macros": [], "nodes": ["seed.shop.raw"]}, "original_file_path": "models/a.sql", "tags": ["x"], '
    '"config": {"materialized": "view"}, "fqn": ["shop", "a"]}'
)


def test_selection_variables_and_parsing_are_handed_to_dbt() -> None:
    render = RenderConfig(select=["tag:daily", "+orders"], exclude=["raw"])

    arguments = ls_arguments(render, ProjectConfig("shop", partial_parse=False), dbt_vars={"b": 1, "a": "x"})

    assert arguments[4 + len(LS_OUTPUT_KEYS) :] == [
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

    assert ls_arguments(render, ProjectConfig("shop"))[4 + len(LS_OUTPUT_KEYS) :] == ["--selector", "nightly"]


def test_log_lines_around_the_nodes_are_passed_over() -> None:
    lines = [
        "\x1b[0m07:56:14  Running with dbt=1.11.16\n",
        '{"info": {"name": "MainReportVersion"}, "data": {"unique_id": "model.shop.a", "resource_type": "model"}}\n',
        "{not json at all}",
        "[1, 2]",
        "",
        NODE + "\n",
        "07:56:17  Found 1 model",
    ]

    assert list(parse_dbt_ls_output(lines, project_path=Path("/srv/shop"))) == ["model.shop.a"]


def test_a_node_has_what_dbt_says_of_it() -> None:
    node = parse_dbt_ls_output([NODE], project_path=Path("/srv/shop"))["model.shop.a"]

    assert (node.depends_on, node.tags, node.fqn) == (["seed.shop.raw"], ["x"], ["shop", "a"])
    assert node.file_path == Path("/srv/shop/models/a.sql")
    assert node.config == {"materialized": "view"}


def test_files_of_packages_lie_in_the_packages_folder() -> None:
    nodes = parse_dbt_ls_output([NODE], project_path=Path("/srv/shop"), root_package="harbor")

    assert nodes["model.shop.a"].file_path == Path("/srv/shop/dbt_packages/shop/models/a.sql")


def test_tags_of_a_unit_test_come_from_its_configuration() -> None:
    line = json.dumps(
        {
            "unique_id": "unit_test.shop.a.counts",
            "resource_type": "unit_test",
            "original_file_path": "models/schema.yml",
            "config": {"tags": "slow"},
        }
    )

    assert parse_dbt_ls_output([line], project_path=Path("/srv"))["unit_test.shop.a.counts"].tags == ["slow"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(NODE[:-40], "Line 2 of the output of dbt ls is a node that cannot be read: .*truncated", id="cut"),
        pytest.param(NODE.replace('["x"]', "3"), "Line 2 .*Expected `array | null`, got `int`", id="type"),
        pytest.param(NODE.replace("model.shop.a", "a"), r"Line 2 .*'a' is not <type>", id="id"),
    ],
)
def test_a_node_that_cannot_be_read_is_an_error_with_its_line(line: str, words: str) -> None:
    with pytest.raises(CosmosLoadDbtException, match=words):
        parse_dbt_ls_output(["log", line], project_path=Path("/srv"))
