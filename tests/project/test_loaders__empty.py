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
from tests.project.ls_place import DATA, SAY, Place

MANIFEST = DATA / "manifest.json"
SAID = (DATA / "dbt_ls.jsonl").read_text().splitlines()
# A dbt that lists the recorded nodes for `fqn:*`, and nothing for any other selection.
OBEY = f"case \"$*\" in *'--select fqn:* source:*'*) {SAY};; *--select*|*--exclude*|*--selector*) ;; *) {SAY};; esac"
WAYS = [
    pytest.param(LoadMode.DBT_MANIFEST, id="manifest"),
    pytest.param(LoadMode.DBT_LS_FILE, id="file"),
    pytest.param(LoadMode.CUSTOM, id="custom", marks=pytest.mark.filterwarnings("ignore:LoadMode.CUSTOM")),
    pytest.param(LoadMode.DBT_LS, id="ls"),
]


def loading(place: Place, method: LoadMode, **render: Any) -> DbtGraph:
    place.let_dbt(OBEY)
    return DbtGraph(
        project=ProjectConfig(place.project, manifest_path=MANIFEST),
        render_config=RenderConfig(
            load_method=method, dbt_ls_path=DATA / "dbt_ls.jsonl", dbt_executable_path=place.dbt, **render
        ),
        profile_config=harbor_profile(place.project),
    )


def unfit(log: pytest.LogCaptureFixture) -> list[str]:
    """The items that were warned of; each record is caught twice, by its logger and by the root."""
    records = {id(record): record for record in log.records}.values()
    return re.findall("'(.+)' in select or exclude fits no node", "\n".join(each.getMessage() for each in records))


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

    assert read_by_each_mode.calls == (2 if method is LoadMode.DBT_LS else 0)


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


def test_the_whole_project_is_known_where_dbt_has_selected(place: Place) -> None:
    """dbt takes nodes that are not selected for those that are: the words of tasks are made with all nodes in mind."""
    graph = loading(place, LoadMode.DBT_LS, exclude=["raw_ports"], allow_empty_selection=True)

    for _ in range(2):
        graph.load()

    assert (len(graph.nodes), graph.filtered_nodes, place.calls) == (len(SAID), {}, 2)


@pytest.mark.parametrize(("default", "calls"), [("true", 2), ("\"{{ target.name == 'dev' }}\"", 2), (None, 1)])
def test_a_default_selector_is_a_selection(default: str | None, calls: int, place: Place) -> None:
    selector = "selectors: [{name: usual, %sdefinition: {method: tag, value: nightly}}]"
    place.write("selectors.yml", selector % (f"default: {default}, " if default else ""))
    graph = loading(place, LoadMode.DBT_LS)

    graph.load()

    assert (len(graph.nodes), place.calls) == (len(SAID), calls)


def test_an_empty_default_selector_is_named(place: Place) -> None:
    place.write("selectors.yml", "selectors: [{name: usual, default: true, definition: {method: tag, value: nightly}}]")
    graph = loading(place, LoadMode.DBT_LS)
    place.let_dbt(f"case \"$*\" in *'--select fqn:* source:*'*) {SAY};; esac")

    with pytest.raises(CosmosLoadDbtException, match="so the default selector 'usual' counts"):
        graph.load()


@pytest.mark.parametrize("method", WAYS[:3])
def test_an_item_that_fits_nothing_beside_others_is_a_warning(
    method: LoadMode, read_by_each_mode: Place, log: pytest.LogCaptureFixture
) -> None:
    loading(read_by_each_mode, method, select=["stg_ports", "stg_bertz"], exclude=["mising", "raw_ports"]).load()

    assert unfit(log) == ["stg_bertz", "mising"]


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
@pytest.mark.parametrize(("release", "level", "says_unfit"), [("dbt111", "none", True), ("dbt2", "off", False)])
def test_a_real_dbt_is_asked_for_the_whole_project_and_a_silent_one_is_an_error(
    release: str,
    level: str,
    says_unfit: bool,
    dbt_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    for _ in range(2):
        with pytest.raises(CosmosLoadDbtException, match=r"selects none of the \d+ nodes .*'stagin'.*mean staging"):
            real(release, dbt_project, select=["stagin"]).load()
    (dbt_project / "selectors.yml").write_text(
        "selectors: [{name: usual, default: true, definition: {method: tag, value: nigthly}}]"
    )
    with pytest.raises(CosmosLoadDbtException, match="the default selector 'usual' counts"):
        real(release, dbt_project).load()
    (dbt_project / "selectors.yml").unlink()

    log.clear()
    for _ in range(2):
        real(release, dbt_project, exclude=["stagin"]).load()
    assert unfit(log) == ["stagin"] * 2 * says_unfit

    monkeypatch.setenv("DBT_LOG_LEVEL", level)
    for selection in ({}, {"select": ["staging"], "allow_empty_selection": True}):
        with pytest.raises(CosmosLoadDbtException, match=f"has no nodes.* Take DBT_LOG_LEVEL={level} away"):
            real(release, dbt_project, **selection).load()
