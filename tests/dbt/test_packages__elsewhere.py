"""Packages that another machine has installed."""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.dbt.elsewhere import Shelf
from tests.dbt.harbor import Project, make_store

ONLY_FROM_A_HUB = "packages:\n  - package: port/cranes\n"
PINS = "packages: [cranes 1.0]\n"


@pytest.fixture
def pinned(project: Project) -> Project:
    (project.path / "packages.yml").write_text(ONLY_FROM_A_HUB)
    (project.path / "package-lock.yml").write_text(PINS)
    return project


def test_pinned_packages_are_installed_on_one_machine(pinned: Project) -> None:
    shelf = Shelf()
    with pinned.installed(elsewhere=shelf):
        pass

    with pinned.installed(elsewhere=shelf, stores=[make_store(pinned.root / "another")]) as packages:
        assert (packages / "cranes" / "macros.sql").read_text() == "installation 1"
    asked = list(shelf.asked)
    with pinned.installed(elsewhere=shelf, stores=[make_store(pinned.root / "another")]):
        pass

    assert pinned.installations == 1
    assert "The dbt packages are those that another machine has installed." in pinned.lines
    assert shelf.asked == asked, "a worker that has them asks nobody"


def test_a_local_package_is_linked_where_it_stands_on_each_machine(project: Project) -> None:
    (project.path / "package-lock.yml").write_text(PINS)
    shelf = Shelf()
    with project.installed(elsewhere=shelf):
        pass

    with project.installed(elsewhere=shelf, stores=[make_store(project.root / "another")]) as packages:
        assert (packages / "shared").resolve() == project.root / "shared"

    assert project.installations == 1


def test_what_may_move_on_stays_on_its_machine(project: Project) -> None:
    (project.path / "packages.yml").write_text(ONLY_FROM_A_HUB)
    shelf = Shelf()

    with project.installed(elsewhere=shelf):
        pass

    assert project.kept
    assert shelf.files == {}


def archive(*members: tuple[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no archive", id="no-archive"),
        pytest.param(archive(("packages/a", b"a" * 10_000))[:-30], id="cut-short"),
        pytest.param(archive(("package-lock.yml", PINS.encode()), ("../../../evil", b"x")), id="leads-out"),
        pytest.param(archive(("package-lock.yml", PINS.encode()), ("packages/../../../evil", b"x")), id="leads-up"),
        pytest.param(
            archive(("package-lock.yml", b"packages: [cranes 0.9]\n"), ("packages/m.sql", b"x")), id="other-pins"
        ),
    ],
)
def test_what_is_no_installation_of_these_pins_is_not_used(pinned: Project, content: bytes) -> None:
    shelf = Shelf()
    shelf.files[f"{pinned.digest()}.tar.gz"] = content, 0.0

    with pinned.installed(elsewhere=shelf) as packages:
        assert (packages / "cranes" / "macros.sql").read_text() == "installation 1"

    assert pinned.installations == 1
    assert not list(pinned.root.rglob("evil"))
    with pinned.installed(elsewhere=Shelf()):
        assert pinned.installations == 1, "what was installed here is kept as ever"
