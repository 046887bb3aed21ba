"""The folder that dbt runs in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.dbt.package_files import has_packages
from cosmos_venv.dbt.workspace import workspace
from cosmos_venv.exceptions import CosmosValueError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "harbor"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: harbor\n")
    (folder / "models" / "a.sql").write_text("select 1")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_project_is_reached_by_links_and_never_written_to(project: Path) -> None:
    before = contents(project)

    with workspace(project, install_deps=False) as place:
        (place / "target").mkdir()
        (place / "target" / "manifest.json").write_text("{}")
        (place / "logs").mkdir()

        assert (place / "models").readlink() == project / "models"
        assert (place / "models" / "a.sql").read_text() == "select 1"

    assert contents(project) == before
    assert not place.exists()


@pytest.mark.parametrize("name", ["logs", "package-lock.yml", "profiles.yml"])
def test_what_dbt_writes_or_would_prefer_to_ours_is_not_linked(project: Path, name: str) -> None:
    (project / name).write_text("x")

    with workspace(project, install_deps=False) as place:
        assert not (place / name).exists()


@pytest.mark.parametrize(("install_deps", "is_linked"), [(True, False), (False, True)])
def test_installed_packages_are_linked_unless_dbt_deps_will_install_them(
    project: Path, install_deps: bool, is_linked: bool
) -> None:
    (project / "dbt_project.yml").write_text("name: harbor\npackages-install-path: vendor\n")
    (project / "vendor").mkdir()

    with workspace(project, install_deps=install_deps) as place:
        assert (place / "vendor").exists() is is_linked


def test_packages_deep_in_the_project_are_installed_beside_it_not_in_it(project: Path) -> None:
    (project / "dbt_project.yml").write_text("name: harbor\npackages-install-path: vendor/dbt/packages\n")
    (project / "vendor" / "dbt" / "packages").mkdir(parents=True)
    (project / "vendor" / "notes.txt").write_text("ours")
    before = contents(project)

    with workspace(project, install_deps=True) as place:
        (place / "vendor" / "dbt" / "packages").mkdir()
        (place / "vendor" / "dbt" / "packages" / "codes.sql").write_text("select 1")

        assert (place / "vendor" / "notes.txt").read_text() == "ours"

    assert contents(project) == before


@pytest.mark.parametrize(
    ("text", "expected"), [(None, False), ("", False), ("packages: []", True)], ids=["absent", "empty", "listed"]
)
def test_a_project_has_packages_when_it_lists_some(project: Path, text: str | None, expected: bool) -> None:
    if text is not None:
        (project / "packages.yml").write_text(text)

    assert has_packages(project) is expected


def test_a_folder_that_is_no_project_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(CosmosValueError, match=r"project_dir '.*missing' is no dbt project: there is no such folder"),
        workspace(tmp_path / "missing", install_deps=False),
    ):
        pass

    with pytest.raises(CosmosValueError, match=r"no dbt_project\.yml in it"), workspace(tmp_path, install_deps=False):
        pass
