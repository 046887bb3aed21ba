"""Several groups of one project in one DAG file: they are loaded and planned once."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import DAG, DAGS_HAVE_VERSIONS
from cosmos_venv.files.read_limits import walk
from cosmos_venv.project import fingerprint
from tests.project.ls_place import Place
from tests.rendering.recorded_project import RECORDED, copy_of_project

FILE = """
from datetime import datetime, timezone
from cosmos_venv import DbtTaskGroup, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG
from tests.rendering.recorded_project import manifest_arguments
from pathlib import Path

project = Path({project!r})
{first}
with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
    groups = [
        DbtTaskGroup(f"g{{number}}", **{{**manifest_arguments(project), **more}})
        for number, more in enumerate({groups})
    ]
"""
NAME = "unusual_prefix_of_test_project_rendering"


class Loads:
    """The lines of the log about nodes that are loaded or shared."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger="cosmos_venv.project.graph")
        self._caplog = caplog

    @property
    def loaded(self) -> int:
        return self._lines_with("Loaded ")

    @property
    def shared(self) -> int:
        return self._lines_with("Shares ")

    def _lines_with(self, start: str) -> int:
        return sum(line.startswith(start) for line in self._caplog.messages)


@pytest.fixture
def loads(caplog: pytest.LogCaptureFixture) -> Loads:
    return Loads(caplog)


class Import:
    """Imports a DAG file as Airflow does it, in a module of a name of Airflow's."""

    def __init__(self, folder: Path) -> None:
        self.project = copy_of_project(folder / RECORDED.name)
        self.file = folder / "dags.py"

    def __call__(self, groups: str, *, first: str = "") -> Any:
        self.file.write_text(FILE.format(project=str(self.project), groups=groups, first=first))
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


def test_groups_that_are_configured_alike_are_loaded_and_planned_once(import_file: Import, loads: Loads) -> None:
    module = import_file("[{}, {'operator_args': {'vars': {'a': 1}, 'py_requirements': ['dbt-duckdb']}}, {}]")

    assert (loads.loaded, loads.shared) == (1, 2)
    assert tasks(module.dag, "g0") == tasks(module.dag, "g1") == tasks(module.dag, "g2") != set()
    one, other = module.groups[:2]
    assert one.plan is other.plan
    assert one.dbt_graph.filtered_nodes == other.dbt_graph.filtered_nodes
    assert one.dbt_graph.filtered_nodes is not other.dbt_graph.filtered_nodes
    assert {task.vars["a"] for task in module.dag.tasks if getattr(task, "vars", None)} == {1}


def test_groups_that_select_apart_read_one_manifest(import_file: Import, loads: Loads) -> None:
    staging, marts = (
        f"{{'render_config': RenderConfig(select=['path:models/{each}'])}}" for each in ("staging", "marts")
    )
    module = import_file(f"[{staging}, {marts}]")

    assert (loads.loaded, loads.shared) == (2, 0)
    one, other = module.groups
    assert "model.harbor_ops.stg_ports" in one.dbt_graph.filtered_nodes.keys() - other.dbt_graph.filtered_nodes.keys()
    assert "model.harbor_ops.port_calls" in other.dbt_graph.filtered_nodes.keys() - one.dbt_graph.filtered_nodes.keys()
    unselected = "analysis.harbor_ops.busiest_port"
    assert one.dbt_graph.nodes[unselected] is other.dbt_graph.nodes[unselected]


@pytest.mark.skipif(not DAGS_HAVE_VERSIONS, reason="Airflow 2 has no versions of DAGs")
def test_groups_of_one_project_work_out_its_hash_once(import_file: Import) -> None:
    change = "(project / 'models' / 'new.sql').write_text('select 1')"
    staging = "{'render_config': RenderConfig(select=['path:models/staging'])}"

    module = import_file(f"({{}} if number == 0 else {change} and {staging} for number in range(2))")
    said = module.dag.doc_md
    again = import_file("[{}]").dag.doc_md

    assert said.count("dbt project hash") == again.count("dbt project hash") == 1
    assert said != again


def test_a_manifest_that_is_written_anew_between_two_groups_is_read_anew(import_file: Import, loads: Loads) -> None:
    import_file("((project / 'manifest.json').touch() or {} for _ in range(2))")
    assert (loads.loaded, loads.shared) == (1, 1), "its content is the same"

    change = "manifest.write_text(manifest.read_text() + ' ')"
    import_file(f"({change} and {{}} for _ in range(2))", first="manifest = project / 'manifest.json'")
    assert (loads.loaded, loads.shared) == (3, 1)


def test_a_hook_answers_for_each_group(import_file: Import) -> None:
    module = import_file(
        "({'render_config': RenderConfig(normalize_task_id=own)} for place in ('north', 'south')"
        " if globals().update(place=place) is None)",
        first="def own(node): return f'{place}__{node.name}'",
    )

    for place, ids in {"north": tasks(module.dag, "g0"), "south": tasks(module.dag, "g1")}.items():
        assert {each.split("__")[0] for each in ids if "north__" in each or "south__" in each} == {place}


def line_of(name: str) -> str:
    return json.dumps(
        {
            "unique_id": f"model.harbor_ops.{name}",
            "name": name,
            "resource_type": "model",
            "package_name": "harbor_ops",
            "original_file_path": f"models/{name}.sql",
            "depends_on": {"nodes": []},
        }
    )


def test_a_listing_is_shared_until_it_is_written_anew(import_file: Import, loads: Loads, tmp_path: Path) -> None:
    listing = tmp_path / "ls.json"
    render = f"'render_config': RenderConfig(load_method='dbt_ls_file', dbt_ls_path=Path({str(listing)!r}))"
    lines = [line_of("one"), line_of("one"), line_of("another")]

    listing.write_text(lines[0])
    module = import_file(
        f"({{{render}}} for line in {lines!r} if line == listing.read_text() or listing.write_text(line))",
        first=f"listing = Path({str(listing)!r})",
    )

    assert (loads.loaded, loads.shared) == (2, 1)
    assert [list(group.tasks_map) for group in module.groups] == [
        ["model.harbor_ops.one"],
        ["model.harbor_ops.one"],
        ["model.harbor_ops.another"],
    ]


def test_thirty_groups_with_thirty_selections_start_dbt_once(
    import_file: Import, loads: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir()
    place = Place(tmp_path / "place")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(place.cache))
    selecting = (
        f"RenderConfig(load_method='dbt_ls', dbt_executable_path={str(place.dbt)!r},"
        " select=[f'{number % 6}+port_calls'], exclude=[f'stg_{number}'])"
    )
    first = f"place = Path({str(place.project)!r})"
    looks: list[Path] = []

    def walk_and_note(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        looks.append(folder)
        return walk(folder)

    monkeypatch.setattr(fingerprint, "walk", walk_and_note)

    module = import_file(
        f"({{'project_config': ProjectConfig(place), 'render_config': {selecting}}} for number in range(30))",
        first=first,
    )

    assert (loads.loaded, loads.shared, place.calls) == (30, 0, 1)
    # For all groups and for the hash of the project. The process that runs dbt looks again when dbt has ended.
    assert looks.count(place.project / "models") == 1
    assert all("model.harbor_ops.port_calls" in group.tasks_map for group in module.groups)


def test_an_answer_of_dbt_is_shared_while_it_holds(
    import_file: Import, loads: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir()
    place = Place(tmp_path / "place")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(place.cache))
    model = place.project / "models" / "ports.sql"
    group = (
        f"{{'project_config': ProjectConfig({str(place.project)!r}, dbt_vars={{'x': each}}),"
        f" 'render_config': RenderConfig(load_method='dbt_ls', dbt_executable_path={str(place.dbt)!r})}}"
    )

    module = import_file(f"[{group} for each in (1, 1, True)]")

    assert (loads.loaded, loads.shared, place.calls) == (2, 1, 2)
    assert module.groups[0].plan is module.groups[1].plan

    model.write_text(model.read_text() + " ")
    import_file(f"({group} for each in (1, 1))")

    assert (loads.loaded, loads.shared, place.calls) == (3, 2, 3)
