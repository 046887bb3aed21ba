"""The source of the nodes of a graph."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import InvocationMode, LoadMode
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.project.graph import DbtGraph
from tests.installed import environment_of
from tests.kit import harbor_profile
from tests.project.ls_place import SAY

DATA = Path(__file__).parent.parent / "data" / "rendering-project"
MANIFEST = DATA / "manifest.json"
SEED_AND_ITS_TEST = ["seed.harbor_ops.raw_ports", "test.harbor_ops.not_null_raw_ports_port_id.1d4e824298"]


def graph(project: ProjectConfig, render: RenderConfig | None = None, **more: Any) -> DbtGraph:
    profile = harbor_profile(DATA)
    return DbtGraph(
        **{"project": project, "render_config": render or RenderConfig(), "profile_config": profile, **more}
    )


def loaded(project: ProjectConfig, render: RenderConfig | None = None, **more: Any) -> DbtGraph:
    made = graph(project, render, **more)
    made.load()
    return made


@pytest.fixture
def fake_dbt(tmp_path: Path) -> Path:
    """A dbt that writes the project's recorded manifest."""
    script = tmp_path / "bin" / "dbt"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\necho '07:56:14  Running with dbt=1.11.16'\n{SAY}\n")
    script.chmod(0o755)
    return script


def parsing_with(dbt: Path, **more: Any) -> RenderConfig:
    return RenderConfig(**{"dbt_executable_path": dbt, "invocation_mode": InvocationMode.SUBPROCESS, **more})


@pytest.mark.parametrize("method", [LoadMode.AUTOMATIC, LoadMode.MANIFEST])
def test_a_manifest_that_is_there_is_loaded(method: LoadMode, log: pytest.LogCaptureFixture) -> None:
    made = loaded(ProjectConfig(DATA, manifest_path=MANIFEST), RenderConfig(load_method=method))

    assert made.load_method is LoadMode.DBT_MANIFEST
    assert made.nodes == made.filtered_nodes
    assert len(made.nodes) == 32
    assert made.tests_per_model["seed.harbor_ops.raw_ports"] == [
        "test.harbor_ops.not_null_raw_ports_port_id.1d4e824298"
    ]
    assert "Loaded 32 dbt nodes, of which 32 are selected (dbt_manifest, because " in log.text


@pytest.mark.parametrize("manifest", [None, "absent.json"])
def test_without_a_manifest_dbt_lists_the_nodes(
    tmp_path: Path, fake_dbt: Path, manifest: str | None, log: pytest.LogCaptureFixture
) -> None:
    project = tmp_path / "rendering-project"
    shutil.copytree(DATA, project)
    by_manifest = loaded(ProjectConfig(project, manifest_path=MANIFEST))
    made = loaded(
        ProjectConfig(project, manifest_path=project / manifest if manifest else None), parsing_with(fake_dbt)
    )

    assert made.load_method is LoadMode.DBT_LS
    assert made.nodes == by_manifest.nodes
    assert made.tests_per_model == by_manifest.tests_per_model
    assert "manifest" in log.text


@pytest.mark.parametrize("method", [LoadMode.CUSTOM, LoadMode.DBT_LS])
def test_custom_is_dbt_ls_with_a_warning(fake_dbt: Path, method: LoadMode, log: pytest.LogCaptureFixture) -> None:
    made = loaded(ProjectConfig(DATA), parsing_with(fake_dbt, load_method=method, select=["raw_ports"]))

    assert made.load_method in (LoadMode.DBT_LS, LoadMode.DBT_LS_CACHE)
    assert list(made.filtered_nodes) == SEED_AND_ITS_TEST
    assert ("LoadMode.CUSTOM means LoadMode.DBT_LS" in log.text) is (method is LoadMode.CUSTOM)


@pytest.mark.parametrize("method", [LoadMode.CUSTOM, LoadMode.AUTOMATIC])
def test_without_a_dbt_there_is_no_dag_but_the_ways_out(tmp_path: Path, method: LoadMode) -> None:
    nowhere = tmp_path / "nowhere" / "dbt"

    with pytest.raises(CosmosConfigException, match=rf"{nowhere}.*ExecutionMode\.VIRTUALENV.*LoadMode\.DBT_MANIFEST"):
        loaded(ProjectConfig(DATA), parsing_with(nowhere, load_method=method))


def test_what_dbt_would_select_is_selected_from_a_manifest() -> None:
    made = loaded(ProjectConfig(DATA, manifest_path=MANIFEST), RenderConfig(select=["raw_ports"]))

    assert list(made.filtered_nodes) == SEED_AND_ITS_TEST
    assert len(made.nodes) == 32
    assert list(made.tests_per_model) == SEED_AND_ITS_TEST[:1]


@pytest.mark.parametrize(
    "way",
    [
        pytest.param({"load_method": LoadMode.DBT_MANIFEST}, id="manifest"),
        pytest.param({"load_method": LoadMode.DBT_LS}, id="ls"),
    ],
)
@pytest.mark.parametrize("exclude", ["resource_type:test", "not_null_raw_ports_port_id"], ids=["all", "by-name"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["as-dbt", "as-cosmos"])
def test_a_node_whose_tests_are_all_excluded_has_none_unless_the_setting_keeps_them(
    way: dict[str, Any], exclude: str, is_kept: bool, fake_dbt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__KEEP_EXCLUDED_TESTS", str(is_kept))
    excluding = parsing_with(fake_dbt, select=["raw_ports"], exclude=[exclude], **way)
    made = loaded(ProjectConfig(DATA, manifest_path=MANIFEST), excluding)

    seed, *tests = SEED_AND_ITS_TEST
    assert list(made.filtered_nodes) == [seed, *(tests if is_kept else ())]
    assert made.tests_per_model == ({seed: tests} if is_kept else {})
    assert made.filtered_nodes[seed].has_test is is_kept


def test_a_yaml_selector_of_the_manifest_stands_above_select() -> None:
    made = loaded(ProjectConfig(DATA, manifest_path=MANIFEST), RenderConfig(select=["nothing"], selector="only_marts"))

    assert made.filtered_nodes
    assert len(made.filtered_nodes) < 32


def test_a_yaml_selector_says_itself_which_tests_are_selected(tmp_path: Path) -> None:
    manifest = json.loads(MANIFEST.read_text())
    exclude = {"method": "resource_type", "value": "test"}
    manifest["selectors"] = {
        "seeds": {"definition": {"union": [{"method": "fqn", "value": "raw_ports"}, {"exclude": [exclude]}]}},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    render = RenderConfig(selector="seeds", exclude=["nothing"])
    made = loaded(ProjectConfig(DATA, manifest_path=tmp_path / "manifest.json"), render)

    assert list(made.filtered_nodes) == SEED_AND_ITS_TEST[:1]


@pytest.mark.parametrize(
    ("project", "render", "words"),
    [
        pytest.param(ProjectConfig(DATA), {"load_method": LoadMode.DBT_LS}, "dbt ls needs a profile", id="no-profile"),
        pytest.param(
            ProjectConfig(DATA),
            {"load_method": LoadMode.DBT_MANIFEST},
            r"needs ProjectConfig\.manifest_path",
            id="no-manifest",
        ),
        pytest.param(
            ProjectConfig(DATA, manifest_path=MANIFEST),
            {"selector": "nightly"},
            r"selector='nightly' is not in .*manifest\.json\. It has: only_marts, port_calls_family",
            id="no-such-selector",
        ),
        pytest.param(ProjectConfig("/nowhere"), {}, "project folder /nowhere does not exist", id="no-such-folder"),
        pytest.param(
            ProjectConfig(), {}, r"give ProjectConfig\.dbt_project_path, or RenderConfig", id="no-folder-at-all"
        ),
    ],
)
def test_what_is_missing_is_named(project: ProjectConfig, render: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosLoadDbtException, match=words):
        graph(project, RenderConfig(**render), profile_config=None).load()


@pytest.mark.long
def test_a_selector_that_a_partial_parse_has_left_out_is_there_after_the_command_that_is_advised(
    dbt_project: Path,
) -> None:
    def parse(*more: str) -> None:
        dbt = str(environment_of("dbt111") / "bin" / "dbt")
        subprocess.run([dbt, "--quiet", "parse", "--profiles-dir", ".", *more], cwd=dbt_project, check=True)

    parse()
    (dbt_project / "selectors.yml").write_text("selectors: [{name: marts, definition: {method: fqn, value: mart}}]")
    parse()
    project = ProjectConfig(dbt_project, manifest_path=dbt_project / "target" / "manifest.json")
    with pytest.raises(CosmosLoadDbtException, match=r"selector='marts' is not in .*It has none") as refused:
        loaded(project, RenderConfig(selector="marts"))

    advised = str(refused.value).partition("`dbt parse ")[2].partition("`")[0]
    parse(*advised.split())

    assert list(loaded(project, RenderConfig(selector="marts")).filtered_nodes) == ["model.harbor.mart"]


@pytest.fixture
def vendored(tmp_path: Path) -> Path:
    """A project whose packages folder is named by a variable."""
    project = Path(shutil.copytree(DATA, tmp_path / "vendored"))
    with (project / "dbt_project.yml").open("a", encoding="utf-8") as file:
        file.write("\npackages-install-path: \"{{ env_var('VENDOR') }}\"\n")
    (project / "packages.yml").write_text("packages: [{local: macros}]\n")
    return project


@pytest.mark.parametrize("method", [LoadMode.DBT_MANIFEST, LoadMode.DBT_LS, LoadMode.DBT_LS_FILE, LoadMode.CUSTOM])
def test_a_variable_of_the_configuration_alone_may_name_the_packages_folder(
    vendored: Path, fake_dbt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: LoadMode
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    project = ProjectConfig(vendored, manifest_path=MANIFEST, env_vars={"VENDOR": "vendor"}, install_dbt_deps=True)
    made = loaded(project, parsing_with(fake_dbt, load_method=method, dbt_ls_path=DATA / "dbt_ls.jsonl"))

    assert len(made.nodes) > 10


def test_another_packages_folder_is_another_version_and_a_variable_nobody_reads_is_not(
    vendored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(vendor: str) -> str | None:
        return graph(ProjectConfig(vendored, manifest_path=MANIFEST, env_vars={"VENDOR": vendor})).version

    first = version("vendor")
    monkeypatch.setenv("UNASKED", "1")

    assert first is not None
    assert version("vendor") == first
    assert version("elsewhere") != first


@pytest.mark.parametrize(("given", "expected"), [("False", False), ("{{ params.deps }}", True), (True, True)])
def test_whether_packages_are_installed_may_be_a_text(given: Any, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "packages.yml").write_text("packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]")

    assert DbtGraph(ProjectConfig(tmp_path, install_dbt_deps=given)).request().has_deps is expected
