"""A graph loaded from a project's files: when that is chosen, and what is said."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.manifest import Manifest

PROJECT = Path(__file__).resolve().parents[2] / "data" / "rendering-project"
PACKAGES = Path(__file__).resolve().parents[2] / "data" / "selection"


def load(project: Path, method: LoadMode = LoadMode.CUSTOM, **render: Any) -> DbtGraph:
    made = DbtGraph(project=ProjectConfig(project), render_config=RenderConfig(load_method=method, **render))
    with pytest.warns(DeprecationWarning, match=r"LoadMode\.CUSTOM reads a project's files without dbt"):
        made.load()
    return made


def as_dbt_lists(unique_ids: Iterable[str]) -> set[str]:
    """Without analyses, which only a manifest tells of."""
    return {each for each in unique_ids if not each.startswith("analysis.")}


def test_where_there_is_neither_manifest_nor_profile_the_files_are_read(log: pytest.LogCaptureFixture) -> None:
    made = load(PROJECT, LoadMode.AUTOMATIC)

    assert made.load_method is LoadMode.CUSTOM
    assert set(made.nodes) == as_dbt_lists(Manifest(PROJECT / "manifest.json").nodes(project_path=PROJECT))
    assert "(custom, because no ProjectConfig.manifest_path is given, and no profile with which dbt" in log.text


@pytest.mark.parametrize(
    ("select", "exclude"),
    [
        (["tag:nightly"], []),
        (["@fct_orders"], ["tag:finance"]),
        (["fin_forecast", "version:latest", "access:public"], []),
        (["path:models/marts,config.materialized:table"], []),
        (["source:raw+1", "exposure:*"], ["test_type:singular", "test_name:unique"]),
        (["package:toolkit", "group:money"], []),
        ([], ["+resource_type:snapshot"]),
    ],
)
def test_a_selection_is_what_it_is_in_the_manifest(select: list[str], exclude: list[str]) -> None:
    project = ProjectConfig(PACKAGES / "project", manifest_path=PACKAGES / "manifest.json")
    there = DbtGraph(project=project, render_config=RenderConfig(select=select, exclude=exclude))
    there.load()

    made = load(PACKAGES / "project", select=select, exclude=exclude)

    assert there.load_method is LoadMode.DBT_MANIFEST
    assert set(made.filtered_nodes) == as_dbt_lists(there.filtered_nodes)
    assert made.filtered_nodes


@pytest.mark.filterwarnings("ignore:LoadMode.CUSTOM:DeprecationWarning")
def test_variables_are_those_of_the_tasks(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text("name: shop\n")
    (tmp_path / "models" / "a.sql").write_text("{{ config(enabled=var('on'), tags=env_var('HARBOR')) }} select 1")
    (tmp_path / "models" / "b.sql").write_text("select 1")
    found = []
    for given in ({"on": False}, "on: true"):
        made = DbtGraph(
            project=ProjectConfig(tmp_path, env_vars={"HARBOR": "north"}),
            execution_config=ExecutionConfig(),
            operator_args={"vars": given},
        )
        made.load()
        found.append({name: node.tags for name, node in made.nodes.items()})

    assert found == [{"model.shop.b": []}, {"model.shop.a": ["north"], "model.shop.b": []}]
