"""The nodes of a manifest, and the errors about other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.dbt_ls import nodes_of_file
from cosmos_venv.project.manifest import Manifest, pruned
from cosmos_venv.project.node_entry import ProjectFolders
from tests.project.manifests import entry, write_manifest

PROJECT = Path(__file__).parent.parent / "data" / "rendering-project"


def test_a_manifest_and_dbt_ls_of_one_project_give_the_same_nodes_but_for_analyses() -> None:
    from_manifest = Manifest(PROJECT / "manifest.json").nodes(project_path=PROJECT)
    from_ls = nodes_of_file(PROJECT / "dbt_ls.jsonl", ProjectFolders(project=PROJECT, root_package="harbor_ops"))

    assert from_manifest.keys() - from_ls.keys() == {"analysis.harbor_ops.busiest_port"}
    assert {unique_id: from_manifest[unique_id] for unique_id in from_ls} == from_ls
    assert len(from_ls) == 31


def test_a_pruned_manifest_has_the_same_nodes_and_selections_and_no_sql() -> None:
    content = (PROJECT / "manifest.json").read_bytes()
    whole, kept = Manifest("whole", content), pruned(content, "whole")

    part = Manifest("part", kept)

    assert part.nodes(project_path=PROJECT) == whole.nodes(project_path=PROJECT)
    for select, selector in ((["+tag:geo"], None), (["exposure:*"], None), ([], "only_marts")):
        assert part.selected(select, ["fleet_summary"], selector) == whole.selected(select, ["fleet_summary"], selector)
    assert b"raw_code" not in kept
    assert len(kept) < len(content)


def test_functions_are_read(tmp_path: Path) -> None:
    orders = entry(depends_on={"nodes": ["function.shop.tax"]})
    path = write_manifest(
        tmp_path, {"model.shop.orders": orders}, functions={"function.shop.tax": entry("function", fqn=["shop", "tax"])}
    )

    nodes = Manifest(path).nodes(project_path=tmp_path)

    assert nodes["function.shop.tax"].resource_type is DbtResourceType.FUNCTION
    assert Manifest(path).selected(["+orders"], ["resource_type:model"], None) == {"function.shop.tax"}


def test_only_an_age_that_is_set_counts_as_freshness() -> None:
    nodes = Manifest(PROJECT / "manifest.json").nodes(project_path=PROJECT)

    fresh = sorted(node.resource_name for node in nodes.values() if node.has_freshness)

    assert fresh == ["tracking.positions", "tracking.spare_feed"]


def test_files_of_packages_lie_in_the_packages_folder(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path,
        {"model.shop.a": entry(package_name="shop"), "model.utils.b": entry(package_name="utils")},
    )

    nodes = Manifest(path).nodes(project_path=tmp_path, packages_folder="vendor")

    assert nodes["model.shop.a"].file_path == tmp_path / "models/a.sql"
    assert nodes["model.utils.b"].file_path == tmp_path / "vendor/utils/models/a.sql"


def test_nodes_that_no_file_declares_are_left_out(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, {"model.other.a": entry(original_file_path=""), "model.shop.a": entry()})

    assert list(Manifest(path).nodes(project_path=tmp_path)) == ["model.shop.a"]


def test_unknown_keys_and_types_of_a_newer_dbt_are_no_obstacle(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, {"wonder.shop.a": entry("wonder", news={"x": 1})}, wonders={"a": {}})

    assert Manifest(path).nodes(project_path=tmp_path)["wonder.shop.a"].resource_type.value == "wonder"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", r"manifest\.json is empty", id="empty"),
        pytest.param(b" \n", r"manifest\.json is empty", id="blank"),
        pytest.param(b"not json", r"manifest\.json is not JSON", id="not-json"),
        pytest.param(b'{"nodes": {"a": "\xff"}}', r"manifest\.json (is not JSON|is JSON but)|entry a", id="not-utf8"),
        pytest.param((PROJECT / "manifest.json").read_bytes()[:30_000], r"manifest\.json is cut off", id="cut-off"),
        pytest.param(b"[]", r"not a dbt manifest: Expected `object`, got `array`", id="array"),
        pytest.param(b"3", r"not a dbt manifest: Expected `object`, got `int`", id="number"),
        pytest.param(b"null", r"not a dbt manifest: Expected `object`, got `null`", id="null"),
        pytest.param(b"{}", r"not a dbt manifest: Object missing required field `nodes`", id="no-nodes"),
        pytest.param(b'{"nodes": []}', r"not a dbt manifest: Expected `object`, got `array`", id="nodes-array"),
        pytest.param(b'{"nodes": {"a": {}}}', r"missing required field `resource_type` - at `\$\.nodes", id="no-type"),
    ],
)
def test_a_file_that_is_no_manifest_is_named_with_fault_and_way_out(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)

    with pytest.raises(CosmosLoadDbtException, match=rf"({words}).*(?s:.*)`dbt parse` or `dbt compile`"):
        Manifest(path).nodes(project_path=tmp_path)


@pytest.mark.parametrize(
    ("unique_id", "broken", "words"),
    [
        pytest.param("model.a", entry(), "entry model.a: unique_id 'model.a' is not <type>.<package>.<name>", id="id"),
        pytest.param("model.shop.a", entry(""), "entry model.shop.a: '' is not a valid DbtResourceType", id="type"),
    ],
)
def test_a_broken_entry_is_named(tmp_path: Path, unique_id: str, broken: dict[str, Any], words: str) -> None:
    path = write_manifest(tmp_path, {"model.shop.good": entry(), unique_id: broken})

    with pytest.raises(CosmosLoadDbtException) as refusal:
        Manifest(path).nodes(project_path=tmp_path)

    assert words in str(refusal.value)


@pytest.mark.parametrize(("version", "is_refused"), [(8, True), (9, False), (12, False), (13, False)])
def test_manifests_before_dbt_1_5_are_refused(tmp_path: Path, version: int, is_refused: bool) -> None:
    metadata = {"dbt_schema_version": f"https://schemas.getdbt.com/dbt/manifest/v{version}.json"}
    path = write_manifest(tmp_path, {"model.shop.a": entry()}, metadata=metadata)

    if not is_refused:
        assert list(Manifest(path).nodes(project_path=tmp_path)) == ["model.shop.a"]
        return
    with pytest.raises(CosmosLoadDbtException, match=r"schema v8; v9 \(dbt 1\.5\) or later is needed"):
        Manifest(path).nodes(project_path=tmp_path)


def test_a_configuration_that_is_none_is_told_with_its_entry_wherever_it_stands(tmp_path: Path) -> None:
    broken = {"metric.shop.m": entry("metric", config=[1])}
    path = write_manifest(tmp_path, {"model.shop.a": entry()}, metrics=broken)

    with pytest.raises(
        CosmosLoadDbtException, match=r"entry metric\.shop\.m: Expected `object \| null`.*at `\$\.config`"
    ):
        Manifest(path).selected(["a"], [], None)
