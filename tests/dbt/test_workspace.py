"""The folder that dbt runs in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.dbt.project_files import has_packages, local_package
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


def write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("inside", ["tests", "deep/tests"])
@pytest.mark.parametrize("local", ["{up}", "{up}/", "./{up}", "{up}/../cranes", "{up}/../../port/cranes/"])
def test_a_package_that_holds_the_project_is_found_as_it_is_written(tmp_path: Path, inside: str, local: str) -> None:
    """The ``integration_tests`` of a dbt package are such a project: its ``packages.yml`` says ``local: ../``."""
    package = tmp_path / "port" / "cranes"
    project = package / inside
    write(package, dbt_project__yml="name: cranes\n")
    write(package / "macros", height__sql="{% macro height() %}1{% endmacro %}")
    write(package / "deep", note__md="beside it")
    path = local.format(up="/".join(".." for _ in project.relative_to(package).parts))
    write(
        project,
        dbt_project__yml="name: tests\npackages-install-path: ../vendor\n",
        packages__yml=f"packages:\n  - local: ../../{inside}/../nowhere\n  - local: {path}\n",
    )
    write(project / "logs", dbt__log="of another run")
    write(package / "vendor" / "old", dbt_project__yml="name: old\n")
    before = contents(tmp_path)

    with workspace(project, install_deps=True) as place:
        seen = local_package(place, path)
        (place / "target").mkdir()
        (place / ".." / "vendor").mkdir(parents=True, exist_ok=True)
        (place / ".." / "vendor" / "cranes").symlink_to(seen)

        assert (seen / "dbt_project.yml").read_text() == "name: cranes\n"
        assert (seen / "macros" / "height.sql").is_file()
        assert (seen / "deep" / "note.md").read_text() == "beside it"
        assert seen / inside == place
        assert (place / "dbt_project.yml").read_text().startswith("name: tests\n")
        assert not (place / "logs").exists()

    assert contents(tmp_path) == before


def test_a_copy_of_the_packages_holds_the_local_ones_as_links(project: Path) -> None:
    """One of them may hold the project, and a copy of it the copy."""
    packages = project / "dbt_packages"
    write(packages / "codes" / "macros", m__sql="ours")
    (packages / "around").symlink_to("../..")

    with workspace(project, install_deps=False, copies_packages=True) as place:
        assert (place / "dbt_packages" / "around").readlink() == project.parent.resolve()
        assert not (place / "dbt_packages" / "codes").is_symlink()
        assert (place / "dbt_packages" / "codes" / "macros" / "m.sql").read_text() == "ours"


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
