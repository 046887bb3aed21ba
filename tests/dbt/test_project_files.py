"""The settings that are read of dbt_project.yml."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.dbt.project_files import DbtProjectFile, read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "dbt_project.yml").write_text(text)
    return tmp_path


def test_name_and_packages_folder_are_read(tmp_path: Path) -> None:
    folder = written(tmp_path, "name: shop\npackages-install-path: vendor\n")

    assert read_dbt_project(folder) == DbtProjectFile(name="shop", packages_folder="vendor")


def test_a_folder_without_the_file_has_the_defaults(tmp_path: Path) -> None:
    assert read_dbt_project(tmp_path) == DbtProjectFile(name=None, packages_folder="dbt_packages")


@pytest.mark.parametrize(("environment", "expected"), [({"PLACE": "there"}, "there"), ({}, "here")])
def test_the_packages_folder_may_come_from_the_environment(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    folder = written(tmp_path, "packages-install-path: \"{{ env_var('PLACE', 'here') }}\"\n")

    assert read_dbt_project(folder, environment=environment).packages_folder == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("name: [", r"dbt_project\.yml cannot be read as YAML", id="not-yaml"),
        pytest.param("text", r"dbt_project\.yml holds no mapping", id="no-mapping"),
        pytest.param("packages-install-path: '{{ env_var(\"NO\") }}'", "needs the environment variable NO", id="unset"),
        pytest.param(
            "packages-install-path: \"{{ 'a'.center(1500000000) }}\"", "is worked out by dbt alone", id="bomb"
        ),
        pytest.param("packages-install-path: '{{ nope( }}'", "packages-install-path .*nope", id="not-jinja"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CosmosLoadDbtException, match=words):
        read_dbt_project(written(tmp_path, text), environment={})
