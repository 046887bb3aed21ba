"""A selection without nodes: a DAG without tasks is green, so it is an error in each load mode."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.graph import DbtGraph
from tests.installed import environment_of
from tests.kit import harbor_profile
from tests.project.ls_place import DATA, Place, writing

MANIFEST = DATA / "manifest.json"
WAYS = [
    pytest.param(LoadMode.DBT_MANIFEST, id="manifest"),
    pytest.param(LoadMode.DBT_LS, id="ls"),
]


def loading(place: Place, method: LoadMode, **render: Any) -> DbtGraph:
    return DbtGraph(
        project=ProjectConfig(place.project, manifest_path=MANIFEST),
        render_config=RenderConfig(load_method=method, dbt_executable_path=place.dbt, **render),
        profile_config=harbor_profile(place.project),
    )


def unfit(log: pytest.LogCaptureFixture) -> list[str]:
    """The items that were warned of; each record is caught twice, by its logger and by the root."""
    records = {id(record): record for record in log.records}.values()
    return re.findall("'(.*)' in select or exclude fits no node", "\n".join(each.getMessage() for each in records))


@pytest.fixture
def read_by_each_mode(place: Place) -> Place:
    place.write("models/staging/stg_ports.sql", "select 1 as id")
    return place


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize(
    ("selection", "shown"),
    [
        pytest.param({"select": ["stg_port"]}, "select=['stg_port']. Did you mean stg_ports", id="typo"),
        pytest.param({"select": ["+stg_port+"]}, "select=['+stg_port+']. Did you mean stg_ports", id="typo-in-graph"),
        pytest.param({"select": ["config.nope:x"]}, "select=['config.nope:x']. Correct", id="unknown-config"),
        pytest.param({"select": [""]}, "select=['']. Correct", id="empty-text"),
        pytest.param({"exclude": ["package:harbor_ops"]}, "exclude=['package:harbor_ops']. Correct", id="all-excluded"),
    ],
)
@pytest.mark.parametrize("times", [1, 2], ids=["first", "kept"])
def test_an_empty_selection_is_refused_with_the_nodes_there_are_and_the_nearest_names(
    method: LoadMode, selection: dict[str, Any], shown: str, times: int, read_by_each_mode: Place
) -> None:
    for _ in range(times):
        with pytest.raises(CosmosLoadDbtException, match=r"RenderConfig selects none of the \d+ nodes of ") as caught:
            loading(read_by_each_mode, method, **selection).load()
        assert shown in str(caught.value)
        assert "RenderConfig(allow_empty_selection=True)" in str(caught.value)

    assert read_by_each_mode.calls == (1 if method is LoadMode.DBT_LS else 0)


@pytest.mark.parametrize("method", WAYS)
def test_an_empty_selection_that_is_allowed_is_a_warning(
    method: LoadMode, read_by_each_mode: Place, log: pytest.LogCaptureFixture
) -> None:
    graph = loading(read_by_each_mode, method, select=["tag:nigthly"], allow_empty_selection=True)
    graph.load()

    assert graph.filtered_nodes == {}
    assert graph.nodes
    assert "select=['tag:nigthly']. allow_empty_selection makes an empty DAG of that" in log.text


@pytest.mark.parametrize(
    ("item", "near"),
    [("tag:dayly", "tag:daily"), ("source:tracking.pingz", "source:tracking.pings"), ("path:models/martz", "path:")],
)
def test_tags_sources_and_folders_are_near_too(item: str, near: str, place: Place) -> None:
    manifest = json.loads(MANIFEST.read_text())
    manifest["nodes"]["seed.harbor_ops.raw_ports"]["tags"] = ["daily"]
    manifest["nodes"]["seed.harbor_ops.raw_ports"]["config"]["tags"] = ["daily"]
    place.write("target/manifest.json", json.dumps(manifest))
    graph = loading(place, LoadMode.DBT_MANIFEST, select=[item])
    graph.project = ProjectConfig(place.project, manifest_path=place.project / "target" / "manifest.json")

    with pytest.raises(CosmosLoadDbtException, match=f"Did you mean {near}"):
        graph.load()


def test_an_empty_default_selector_is_refused(place: Place) -> None:
    manifest = json.loads(MANIFEST.read_text())
    nightly = {"name": "usual", "default": True, "definition": {"method": "tag", "value": "nightly"}}
    place.write("usual.json", json.dumps({**manifest, "selectors": {"usual": nightly}}))
    place.write("selectors.yml", "selectors: [{name: usual, default: true, definition: {method: tag, value: nightly}}]")
    graph = loading(place, LoadMode.DBT_LS)
    place.let_dbt(writing(place.project / "usual.json"))

    with pytest.raises(CosmosLoadDbtException, match=r"so the default selector of selectors\.yml counts"):
        graph.load()


@pytest.mark.parametrize("method", WAYS)
def test_an_item_that_fits_nothing_beside_others_is_a_warning(
    method: LoadMode, read_by_each_mode: Place, log: pytest.LogCaptureFixture
) -> None:
    loading(read_by_each_mode, method, select=["stg_ports", "stg_bertz", ""], exclude=["mising", "raw_ports"]).load()

    assert unfit(log) == ["stg_bertz", "", "mising"]


def test_an_empty_project_is_refused_whatever_is_allowed(place: Place) -> None:
    manifest = json.loads(MANIFEST.read_text())
    place.write("target/manifest.json", json.dumps({"metadata": manifest["metadata"], "nodes": {}, "sources": {}}))
    graph = loading(place, LoadMode.DBT_MANIFEST, allow_empty_selection=True)
    graph.project = ProjectConfig(place.project, manifest_path=place.project / "target" / "manifest.json")

    with pytest.raises(CosmosLoadDbtException, match=r"manifest\.json has no nodes"):
        graph.load()


def real(release: str, project: Path, **render: Any) -> DbtGraph:
    return DbtGraph(
        project=ProjectConfig(project, install_dbt_deps=False),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_LS, dbt_executable_path=environment_of(release) / "bin" / "dbt", **render
        ),
        profile_config=harbor_profile(project),
    )


@pytest.mark.long
@pytest.mark.parametrize(("release", "level"), [("dbt111", "none"), ("dbt2", "off")])
def test_a_real_dbt_is_asked_once_whatever_is_selected_and_a_silent_one_says_as_much(
    release: str,
    level: str,
    dbt_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DBT_LOG_LEVEL", level)
    with pytest.raises(CosmosLoadDbtException, match=r"selects none of the \d+ nodes .*'stagin'.*mean staging"):
        real(release, dbt_project, select=["stagin"]).load()
    excluding = real(release, dbt_project, exclude=["stagin"])
    excluding.load()
    assert unfit(log) == ["stagin", "stagin"]
    assert excluding.load_method is LoadMode.DBT_LS_CACHE

    (dbt_project / "selectors.yml").write_text(
        "selectors: [{name: usual, default: true, definition: {method: tag, value: nigthly}}]"
    )
    with pytest.raises(CosmosLoadDbtException, match=r"the default selector of selectors\.yml counts"):
        real(release, dbt_project).load()
    assert real(release, dbt_project, select=["staging"], allow_empty_selection=True).load() is None


@pytest.mark.long
@pytest.mark.parametrize("release", ["dbt111", "dbt2"])
def test_a_selector_that_was_written_anew_counts_at_once(
    release: str, dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbt 1 keeps the selectors of the parse before where it parses in part; dbt 2 does not say which config counts."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    found = []
    for item in ("fqn, value: mart", "fqn, value: staging", "config.materialized, value: view"):
        (dbt_project / "selectors.yml").write_text(f"selectors: [{{name: some, definition: {{method: {item}}}}}]")
        graph = real(release, dbt_project, selector="some", allow_empty_selection=True)
        graph.load()
        found.append({each.split(".")[0]: each for each in graph.filtered_nodes})

    assert [*found[0].values()] == ["model.harbor.mart"]
    assert found[0] != found[1]
    assert "model" in found[2]
    assert "seed" not in found[2]
