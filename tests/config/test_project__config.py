"""Tests of the arguments that ProjectConfig takes and refuses, and of the answers that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig
from cosmos_venv.exceptions import CosmosValueError


def test_a_project_is_named_after_its_folder_up_to_the_dot(project: Path) -> None:
    config = ProjectConfig(str(project))

    assert (config.dbt_project_path, config.project_name) == (project, "jaffle")
    assert (config.models_paths, config.seeds_paths) == ([project / "models"], [project / "seeds"])
    assert (config.models_path, config.snapshots_path) == (project / "models", project / "snapshots")


def test_a_project_config_of_nothing_has_an_empty_name_and_no_paths() -> None:
    config = ProjectConfig()

    assert config.project_name == ""
    assert (config.dbt_project_path, config.models_path, config.manifest_path) == (None, None, None)
    assert config.models_paths == []
    config.validate_project()


@pytest.mark.parametrize("given", ["manifest_path", "project_name"])
def test_a_manifest_and_a_name_without_a_project_path_come_together(given: str) -> None:
    arguments: dict[str, Any] = {given: "x"}

    with pytest.raises(CosmosValueError, match=f"got {given} but neither dbt_project_path nor"):
        ProjectConfig(**arguments)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        pytest.param("dbt_project.yml", r"dbt_project_path: there is no dbt_project\.yml at .*jaffle\.shop", id="file"),
        pytest.param("models", r"models_relative_paths: there is no models folder at .*models", id="models"),
        pytest.param("manifest.json", r"manifest_path: there is no manifest at .*manifest\.json", id="manifest"),
    ],
)
def test_validation_names_what_is_missing_and_where(project: Path, missing: str, words: str) -> None:
    (project / "manifest.json").write_text("{}")
    config = ProjectConfig(project, manifest_path=project / "manifest.json")
    gone = project / missing
    if gone.is_dir():
        gone.rmdir()
    else:
        gone.unlink()

    with pytest.raises(CosmosValueError, match=words):
        config.validate_project()


@pytest.mark.parametrize("kind", ["models", "seeds", "snapshots"])
def test_folders_are_a_list_and_the_name_of_one_is_deprecated(project: Path, kind: str) -> None:
    several = ProjectConfig(project, **{f"{kind}_relative_paths": ["a", Path("b")]})  # type: ignore[arg-type]
    one = ProjectConfig(project, **{f"{kind}_relative_paths": "a"})  # type: ignore[arg-type]
    with pytest.warns(DeprecationWarning, match=f"{kind}_relative_path is deprecated; use .*{kind}_rel") as caught:
        old = ProjectConfig(project, **{f"{kind}_relative_path": "a"})  # type: ignore[arg-type]
    with pytest.raises(CosmosValueError, match=rf"{kind}_relative_path='a' beside {kind}_relative_paths=\['b'\]"):
        ProjectConfig(project, **{f"{kind}_relative_path": "a", f"{kind}_relative_paths": ["b"]})  # type: ignore[arg-type]

    assert getattr(several, f"{kind}_paths") == [project / "a", project / "b"]
    assert getattr(several, f"{kind}_relative_paths") == [Path("a"), Path("b")]
    assert getattr(ProjectConfig(project), f"{kind}_relative_paths") == [Path(kind)]
    assert getattr(one, f"{kind}_paths") == getattr(old, f"{kind}_paths") == [project / "a"]
    assert caught[0].filename == __file__


def test_each_models_folder_must_be_there(project: Path) -> None:
    config = ProjectConfig(project, models_relative_paths=["models", "marts"])

    with pytest.raises(CosmosValueError, match=r"models_relative_paths: there is no models folder at .*/marts\."):
        config.validate_project()


@pytest.mark.parametrize("url", ["s3://b/m.json", "https://ana:word@docs.example/m.json?sig=abc"])
def test_a_manifest_elsewhere_is_asked_for_when_it_is_read(url: str) -> None:
    config = ProjectConfig(manifest_path=url, manifest_conn_id="store", project_name="shop")

    config.validate_project()

    assert config.is_manifest_available()
    assert (config.manifest_path, config.manifest_conn_id) == (url, "store")


def test_a_url_that_a_path_was_made_of_is_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"manifest_path=.*s3:/b/m.json.* dropped a slash. Give a text"):
        ProjectConfig("shop", manifest_path=Path("s3://b/m.json"))


@pytest.mark.parametrize("name", ["env_vars", "dbt_vars"])
def test_variables_that_are_no_dict_are_refused(name: str) -> None:
    arguments: dict[str, Any] = {name: ["A=1"]}

    with pytest.raises(CosmosValueError, match=rf"ProjectConfig\.{name}=\['A=1'\] must be a dict"):
        ProjectConfig("shop", **arguments)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///tmp/a%20b.json", "/tmp/a b.json"),  # noqa: S108 - nothing is written
        ("FILE:///tmp/m.json", "/tmp/m.json"),  # noqa: S108
        ("file://localhost/tmp/m.json", "/tmp/m.json"),  # noqa: S108
    ],
)
def test_a_file_url_is_a_path_of_this_machine(url: str, path: str) -> None:
    assert ProjectConfig(manifest_path=url, project_name="shop").manifest_path == Path(path)


@pytest.mark.parametrize("name", ["copy_dbt_packages", "partial_parse"])
def test_a_text_is_no_boolean(name: str) -> None:
    with pytest.raises(CosmosValueError, match=rf"ProjectConfig\.{name}='False' is a text\. Give True or False\."):
        ProjectConfig("/dbt", **{name: "False"})  # type: ignore[arg-type]
