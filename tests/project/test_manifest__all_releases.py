"""Manifests of every dbt that can be had, of the public schemas, of Fusion, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.rendering.model import Plan
from tests.project.manifests import entry, write_manifest
from tests.rendering.made import plan_of

RECORDED = sorted((Path(__file__).parent.parent / "data" / "manifests").glob("*.json"))
NODES = {
    "analysis.pier.how_many",
    "exposure.pier.board",
    "model.pier.fleet.v1",
    "model.pier.fleet.v2",
    "model.pier.stg_boats",
    "model.pier.trips",
    "seed.pier.boats",
    "snapshot.pier.boats_then",
    "source.pier.raw.trips",
    "test.pier.no_boat_is_lost",
    "test.pier.not_null_stg_boats_id",
    "test.pier.unique_stg_boats_id",
}
TASKS = ["boats_seed", "boats_then_snapshot", "fleet_v1_run", "fleet_v2_run", "stg_boats.run", "stg_boats.test"]


def without_hash(unique_id: str) -> str:
    return unique_id.rpartition(".")[0] if unique_id.startswith(("test.pier.not", "test.pier.uni")) else unique_id


def planned(path: Path) -> Plan:
    graph = DbtGraph(project=ProjectConfig(path.parent, manifest_path=path))
    graph.load()
    return plan_of(graph)


def test_all_releases_are_there() -> None:
    assert [path.stem for path in RECORDED] == ["1.10", "1.11", "1.5", "1.6", "1.7", "1.8", "1.9"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: str(path.stem))
def test_each_release_gives_the_same_tasks(path: Path) -> None:
    made = planned(path)

    assert sorted(task.task_id for task in made.tasks) == sorted([*TASKS, "trips_run"])
    assert ("stg_boats.test", "fleet_v2_run") in made.edges
    assert ("trips_run", "fleet_v2_run") in made.edges


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: str(path.stem))
def test_each_release_is_selected_from_alike(path: Path) -> None:
    manifest = Manifest(path)

    found = {
        item: {without_hash(each) for each in manifest.selected([item], [], None)}
        for item in ("tag:nightly", "fleet", "source:raw+", "config.materialized:table", "path:seeds", "fqn:*")
    }

    assert found["fqn:*"] == NODES - {"source.pier.raw.trips"}
    assert found["fleet"] == {"model.pier.fleet.v1", "model.pier.fleet.v2"}
    assert found["source:raw+"] == {
        "source.pier.raw.trips",
        "model.pier.trips",
        "model.pier.fleet.v2",
        "exposure.pier.board",
    } | (found["source:raw+"] & {"analysis.pier.how_many"})
    assert found["path:seeds"] == {"seed.pier.boats"}
    assert {"model.pier.stg_boats", "test.pier.unique_stg_boats_id"} <= found["tag:nightly"]
    assert found["config.materialized:table"] == {"model.pier.trips"}
    assert manifest.selected([], [], "nightly") == manifest.selected(["tag:nightly"], [], None)


def model(name: str, *parents: str, **more: Any) -> tuple[str, dict[str, Any]]:
    reads: dict[str, Any] = {"depends_on": {"nodes": [f"model.shop.{parent}" for parent in parents], "macros": []}}
    return f"model.shop.{name}", entry(name=name, package_name="shop", fqn=["shop", name], **reads, **more)


@pytest.mark.parametrize("version", [9, 10, 11, 12, 20])
def test_the_public_schemas_need_no_more_than_they_must_have(tmp_path: Path, version: int) -> None:
    """Trimmed to what each of them requires; 20 is of Fusion, which names no adapter."""
    metadata = {
        "dbt_schema_version": f"https://schemas.getdbt.com/dbt/manifest/v{version}.json",
        "project_name": "shop",
        "adapter_type": None,
    }
    path = write_manifest(
        tmp_path,
        dict([model("a", checksum={"name": "sha256", "checksum": "x"}), model("b", "a", news=[{"of": "a newer dbt"}])]),
        metadata=metadata,
        sources={},
        macros={"macro.shop.m": {"anything": 1}},
        disabled={"model.shop.off": [entry()]},
        unit_tests={},
        something_else=[1],
    )

    assert [task.task_id for task in planned(path).tasks] == ["a_run", "b_run"]


def test_nodes_in_a_circle_are_named(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, dict([model("a", "c"), model("b", "a"), model("c", "b"), model("d")]))

    assert Manifest(path).selected(["+a+", "@b"], [], None) == {f"model.shop.{name}" for name in "abc"}
    with pytest.raises(CosmosLoadDbtException, match=r"(?s)model\.shop\.a|a_run"):
        planned(path)


def test_disabled_nodes_have_no_task_wherever_they_stand(tmp_path: Path) -> None:
    """dbt puts them into a section of their own; hand-made manifests do not."""
    path = write_manifest(tmp_path, dict([model("a"), model("off", config={"enabled": False})]))

    assert Manifest(path).selected(["fqn:*"], [], None) == {"model.shop.a"}
    assert [task.task_id for task in planned(path).tasks] == ["a_run"]


def test_a_type_that_nobody_knows_is_kept_and_has_no_task(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, dict([model("a"), ("wonder.shop.w", entry("wonder", package_name="shop"))]))
    graph = DbtGraph(project=ProjectConfig(path.parent, manifest_path=path))

    graph.load()

    assert set(graph.filtered_nodes) == {"model.shop.a", "wonder.shop.w"}
    assert [task.task_id for task in planned(path).tasks] == ["a_run"]
