"""Several groups of one project in one DAG file: they are loaded and planned once."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import DAG
from cosmos_venv.project import loaders
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.rendering import planner
from tests.rendering.recorded_project import RECORDED, copy_of_project

FILE = """
from datetime import datetime, timezone
from cosmos_venv import DbtTaskGroup, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG
from tests.rendering.recorded_project import manifest_arguments
from pathlib import Path

project = Path({project!r})
with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
    groups = [
        DbtTaskGroup(f"g{{number}}", **{{**manifest_arguments(project), **more}})
        for number, more in enumerate({groups})
    ]
"""
NAME = "unusual_prefix_of_test_project_rendering"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many manifests were read, loads and plans were made."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str, key: str) -> None:
        function = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[key] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(Manifest, "__init__", "manifests")
    count(loaders, "load", "loads")
    count(planner, "plan", "plans")
    return counts


class Import:
    """Imports a DAG file as Airflow does it, in a module of a name of Airflow's."""

    def __init__(self, folder: Path) -> None:
        self.project = copy_of_project(folder / RECORDED.name)
        self.file = folder / "dags.py"

    def __call__(self, groups: str) -> Any:
        self.file.write_text(FILE.format(project=str(self.project), groups=groups))
        spec = importlib.util.spec_from_file_location(NAME, self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
        return module


@pytest.fixture
def import_file(tmp_path: Path) -> Iterator[Import]:
    yield Import(tmp_path)
    sys.modules.pop(NAME, None)


def tasks(dag: DAG, group_id: str) -> set[str]:
    return {task_id.removeprefix(f"{group_id}.") for task_id in dag.task_ids if task_id.startswith(f"{group_id}.")}


def test_groups_that_are_configured_alike_are_loaded_and_planned_once(
    import_file: Import, counted: Counter[str]
) -> None:
    module = import_file("[{}, {'operator_args': {'vars': {'a': 1}, 'py_requirements': ['dbt-duckdb']}}, {}]")

    assert counted == {"manifests": 1, "loads": 1, "plans": 1}
    assert tasks(module.dag, "g0") == tasks(module.dag, "g1") == tasks(module.dag, "g2") != set()
    one, other = module.groups[:2]
    assert one.plan is other.plan
    assert one.dbt_graph.filtered_nodes == other.dbt_graph.filtered_nodes
    assert one.dbt_graph.filtered_nodes is not other.dbt_graph.filtered_nodes
    assert {task.vars["a"] for task in module.dag.tasks if getattr(task, "vars", None)} == {1}


def test_groups_that_select_apart_read_one_manifest(import_file: Import, counted: Counter[str]) -> None:
    selections = ("path:models/staging", "path:models/marts")
    groups = ", ".join(f"{{'render_config': RenderConfig(select=[{each!r}])}}" for each in selections)

    module = import_file(f"[{groups}]")

    assert counted == {"manifests": 1, "loads": 2, "plans": 2}
    one, other = module.groups
    assert "model.harbor_ops.stg_ports" in one.dbt_graph.filtered_nodes.keys() - other.dbt_graph.filtered_nodes.keys()
    assert "model.harbor_ops.port_calls" in other.dbt_graph.filtered_nodes.keys() - one.dbt_graph.filtered_nodes.keys()
    assert one.dbt_graph.nodes.keys() == other.dbt_graph.nodes.keys()


def test_each_import_loads_anew(import_file: Import, counted: Counter[str]) -> None:
    import_file("[{}]")
    import_file("[{}]")

    assert counted == {"manifests": 2, "loads": 2, "plans": 2}


def test_a_manifest_that_is_written_anew_between_two_groups_is_read_anew(
    import_file: Import, counted: Counter[str]
) -> None:
    import_file("[each for each in ({}, {}) if (project / 'manifest.json').touch() is None]")
    assert counted["manifests"] == 1, "it is written before the first group"

    counted.clear()
    import_file("((project / 'manifest.json').touch() or {} for _ in range(2))")
    assert counted == {"manifests": 2, "loads": 2, "plans": 2}


def test_what_is_no_import_of_a_dag_file_shares_nothing(import_file: Import, counted: Counter[str]) -> None:
    import_file("[]")
    exec(import_file.file.read_text().replace("[]", "[{}, {}]"), {"__name__": "notebook"})  # noqa: S102 - the file itself

    assert counted == {"manifests": 2, "loads": 2, "plans": 2}


def test_where_dbt_is_told_other_variables_a_listing_is_loaded_for_each(
    import_file: Import, counted: Counter[str], tmp_path: Path
) -> None:
    listing = tmp_path / "ls.json"
    node = {
        "unique_id": "model.harbor_ops.one",
        "resource_type": "model",
        "package_name": "harbor_ops",
        "original_file_path": "models/one.sql",
        "depends_on": {"nodes": []},
    }
    listing.write_text(json.dumps(node))
    render = f"'render_config': RenderConfig(load_method='dbt_ls_file', dbt_ls_path=Path({str(listing)!r}))"
    operator_args = "'operator_args': {'vars': {'a': 1}, 'py_requirements': ['dbt-duckdb']}"

    module = import_file(f"[{{{render}}}, {{{render}}}, {{{render}, {operator_args}}}]")

    assert counted == {"loads": 2, "plans": 2}
    assert module.groups[0].plan is module.groups[1].plan is not module.groups[2].plan
