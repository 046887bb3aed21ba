"""The version of a project's files: it changes whenever they would make other nodes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.graph import DbtGraph

DATA = Path(__file__).parent.parent / "data" / "rendering-project"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    made = Path(shutil.copytree(DATA, tmp_path / "project"))
    (made / "models" / "asking.sql").write_text("{{ config(tags=[env_var('HARBOR', 'none')]) }} select 1")
    return made


def version(project: Path, **more: Any) -> str | None:
    return DbtGraph(
        project=ProjectConfig(project, **more), render_config=RenderConfig(load_method=LoadMode.CUSTOM)
    ).version()


def append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


CHANGES: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "a model": lambda project, _: append(project / "models" / "asking.sql", "-- x"),
    "a property": lambda project, _: (project / "models" / "more.yaml").write_text("models: []"),
    "a seed more": lambda project, _: (project / "seeds" / "more.csv").write_text("id"),
    "a package": lambda project, _: append(project / "dbt_packages" / "more" / "dbt_project.yml", "name: more"),
    "dbt_project.yml": lambda project, _: append(project / "dbt_project.yml", "\n# x\n"),
    "a variable that is asked for": lambda _, env: env.setenv("HARBOR", "north"),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in CHANGES.items()])
def test_what_decides_the_nodes_is_another_version(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, pytest.MonkeyPatch], object]
) -> None:
    before = version(project)
    change(project, monkeypatch)

    assert before is not None
    assert version(project) not in (before, None)


def test_variables_and_folders_of_the_configuration_count_and_the_place_of_the_project_does_not(
    project: Path, tmp_path: Path
) -> None:
    before = version(project)
    elsewhere = Path(shutil.copytree(project, tmp_path / "elsewhere" / "project"))

    assert version(elsewhere) == before
    assert version(project, dbt_vars={"day": "Monday"}) not in (before, None)
    assert version(project, models_relative_path="seeds") not in (before, None)
    assert version(project, env_vars={"HARBOR": "south"}) not in (before, None)


UNTOLD: dict[str, Callable[[Path], object]] = {
    "a name made by Jinja": lambda project: append(project / "models" / "asking.sql", "{{ env_var(name) }}"),
    "models beside the project": lambda project: append(project / "dbt_project.yml", "\nseed-paths: [../shared]\n"),
    "models anywhere": lambda project: append(project / "dbt_project.yml", "\nseed-paths: /shared\n"),
    "models in the project's own folder, which has target": lambda project: append(
        project / "dbt_project.yml", "\nseed-paths: ['.']\n"
    ),
    "models in target": lambda project: append(project / "dbt_project.yml", "\nseed-paths: [target/seeds]\n"),
    "packages beside the project": lambda project: append(
        project / "dbt_project.yml", "\npackages-install-path: ../packages\n"
    ),
    "a package with models elsewhere": lambda project: append(
        project / "dbt_packages" / "more" / "dbt_project.yml", "name: more\nmodel-paths:\n  - /shared\n"
    ),
    "a package with models elsewhere, in a text of several lines": lambda project: append(
        project / "dbt_packages" / "more" / "dbt_project.yml", "name: more\nmodel-paths:\n  - >\n    /shared\n"
    ),
    "a package beside the packages": lambda project: append(
        project / "dbt_packages" / "more" / "dbt_project.yml", "name: more\nmodel-paths: [models/../../../shared]\n"
    ),
    "a package that is no YAML": lambda project: append(
        project / "dbt_packages" / "more" / "dbt_project.yml", "name: [more\n"
    ),
    "a package that is no mapping": lambda project: append(
        project / "dbt_packages" / "more" / "dbt_project.yml", "- more\n"
    ),
}


def test_a_package_may_name_folders_of_its_own_and_addresses(project: Path) -> None:
    package = project / "dbt_packages" / "more"
    append(package / "dbt_project.yml", "# https://docs.example\nname: more\nmodel-paths: ['.', target]\n")
    before = version(project)
    append(package / "target" / "more.sql", "select 1")

    assert before is not None
    assert version(project) not in (before, None)


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in UNTOLD.items()])
def test_what_the_projects_folder_does_not_hold_has_no_version(project: Path, change: Callable[[Path], object]) -> None:
    change(project)

    assert version(project) is None
