"""Packages that are installed once: who finds them, and who installs."""

from __future__ import annotations

import os

import pytest

from tests.dbt.harbor import Project, make_store


def test_the_second_command_gets_what_the_first_one_installed(project: Project) -> None:
    with project.installed():
        pass
    with project.installed() as packages:
        assert (packages / "cranes" / "macros.sql").read_text() == "installation 1"
        assert (packages / "shared").resolve() == project.root / "shared"
        assert (packages.parent / "package-lock.yml").read_text() == "packages: [cranes 1.0]\n"
        assert not (packages / "cranes" / ".git").exists()

    assert project.installations == 1


def test_what_fails_is_not_kept_and_its_error_goes_on(project: Project) -> None:
    with pytest.raises(ValueError, match="no such package"), project.installed(fails=True):
        pass

    assert not project.kept
    with project.installed():
        assert project.installations == 1


@pytest.mark.parametrize(
    ("has_lock", "max_age", "installations"),
    [
        pytest.param(False, 3600, 1, id="young"),
        pytest.param(False, 0, 2, id="too-old"),
        pytest.param(True, 0, 1, id="pinned"),
    ],
)
def test_without_a_lock_file_an_installation_is_used_for_a_while_and_with_one_for_ever(
    project: Project, has_lock: bool, max_age: float, installations: int
) -> None:
    if has_lock:
        (project.path / "package-lock.yml").write_text("packages: [cranes 1.2]\n")

    for _ in range(2):
        with project.installed(max_age=max_age):
            pass

    assert project.installations == installations


def test_what_cannot_be_unpacked_is_installed_anew_and_the_log_says_why(project: Project) -> None:
    with project.installed():
        pass
    (kept,) = project.kept
    os.truncate(kept, kept.stat().st_size // 2)

    for _ in range(2):
        with project.installed() as packages:
            assert (packages / "cranes" / "macros.sql").read_text() == "installation 2"

    assert f"The kept dbt packages of {kept} are not used: " in "".join(project.lines)


@pytest.mark.parametrize("reason", ["untrusted", "unwritable"])
def test_where_nothing_can_be_kept_each_command_installs(project: Project, reason: str) -> None:
    (project.root / "file").write_text("")
    store = make_store(project.root / ("file" if reason == "unwritable" else "store"))
    if reason == "untrusted":
        store.folder.mkdir()
        store.folder.chmod(0o777)

    for _ in range(2):
        with project.installed(stores=[store]) as packages:
            assert (packages / "cranes" / "macros.sql").exists()

    assert project.installations == 2
    assert any("not kept for other tasks" in line for line in project.lines)


def test_where_the_first_store_cannot_be_used_the_next_one_is(project: Project) -> None:
    (project.root / "file").write_text("")
    stores = [make_store(project.root / "file"), make_store(project.root / "store")]

    for _ in range(2):
        with project.installed(stores=stores):
            pass

    assert project.installations == 1
    assert len(project.kept) == 1


def test_a_store_that_comes_with_the_image_is_looked_at_first_and_never_written_to(project: Project) -> None:
    with project.installed(stores=[make_store(project.root / "image")]):
        pass
    stores = [make_store(project.root / "image", is_read_only=True), make_store(project.root / "store")]

    with project.installed(stores=stores) as packages:
        assert (packages / "cranes" / "macros.sql").read_text() == "installation 1"
    assert not project.kept
    with project.installed(stores=stores, max_age=0):
        pass

    assert len(project.kept) == 1
    assert len(list((project.root / "image").glob("*.tar.gz"))) == 1
