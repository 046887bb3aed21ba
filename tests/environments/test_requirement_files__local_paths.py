"""Which requirements are paths: as pip takes them, whether they stand among the requirements or in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.requirement_files import local_path
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files and folders of odd names."""
    monkeypatch.chdir(tmp_path)
    for name in ("hello.whl", "at@home.whl", "at@home/hello.whl", "with [one]/hello.whl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "path", "rest"),
    [
        pytest.param(" ./hello ", "./hello", "", id="blanks"),
        pytest.param("../hello[extra]", "../hello", "[extra]", id="extras"),
        pytest.param("/hello ; python_version > '3'", "/hello", "; python_version > '3'", id="marker"),
        pytest.param("hello/there", "hello/there", "", id="separator"),
        pytest.param("missing.TAR.gz[a,b];x", "missing.TAR.gz", "[a,b];x", id="archive-that-is-missing"),
        pytest.param("./with [one]/hello.whl[a]", "./with [one]/hello.whl", "[a]", id="brackets-in-the-path"),
        pytest.param("./at@nowhere/hello.whl", "./at@nowhere/hello.whl", "", id="at-behind-a-separator"),
        pytest.param("at@home.whl", "at@home.whl", "", id="at-in-the-name-of-a-file-that-is-there"),
        pytest.param("at@nowhere.whl", None, "", id="at-in-the-name-of-a-file-that-is-missing"),
        pytest.param("hello @ ./hello.whl", None, "", id="name-and-address"),
        pytest.param("hello@https://host/hello.whl", None, "", id="name-and-url"),
        pytest.param("git+https://host/hello.git@v1", None, "", id="url-of-git"),
        pytest.param("file:/hello.whl", None, "", id="file-url"),
        pytest.param("hello[extra]==1.0; x", None, "", id="name-with-all"),
        pytest.param("hello; sys_platform == 'a/b'", None, "", id="separator-in-the-marker"),
    ],
)
def test_what_pip_takes_as_a_path_is_one(place: Path, text: str, path: str | None, rest: str) -> None:
    assert local_path(text) == (None if path is None else (path, rest))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hello.whl", "hello.whl"),
        ("at@home.whl", "at@home.whl"),
        ("./with [one]/hello.whl[extra]", "with [one]/hello.whl"),
        ("file:{place}/hello.whl", "hello.whl"),
        ("hello @ file://{place}/hello.whl", "hello.whl"),
    ],
)
@pytest.mark.parametrize("requirement", ["{text}", "-r all.txt"], ids=["among-the-requirements", "in-a-file"])
def test_a_path_or_file_url_counts_by_content_wherever_it_stands(
    place: Path, text: str, named: str, requirement: str
) -> None:
    wanted = text.format(place=place)
    (place / "all.txt").write_text(f"{wanted}\n")
    before = digest_of(requirement.format(text=wanted))

    (place / named).write_text("two")

    assert digest_of(requirement.format(text=wanted)) != before


def test_a_missing_path_is_refused_among_the_requirements_and_left_to_the_installer_in_a_file(place: Path) -> None:
    """There it may hold a variable, or be what only looks like one: pip says what it makes of it."""
    (place / "all.txt").write_text("./${FOLDER}/hello.whl\n")

    with pytest.raises(CosmosValueError, match=r"py_requirements: gone\.whl cannot be read"):
        digest_of("gone.whl")
    assert digest_of("-r all.txt")


def digest_of(requirement: str) -> str:
    return EnvironmentSpec(requirements=(requirement,), interpreter=Interpreter.of()).digest


@pytest.fixture
def project(place: Path) -> Path:
    """A project with a package in ``src``."""
    folder = place / "project"
    (folder / "src" / "shop").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "src" / "shop" / "core.py").write_text("one")
    return folder


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("src/shop/build/core.py", True),
        ("src/shop/dist/core.py", True),
        ("src/shop/venv/core.py", True),
        ("shop/core.py", True),
        ("build/lib/shop/core.py", False),
        ("dist/shop-1.0.tar.gz", False),
        ("venv/lib/python3/site-packages/other.py", False),
        ("src/shop.egg-info/PKG-INFO", False),
        ("src/shop/__pycache__/core.pyc", False),
    ],
)
def test_of_a_project_all_counts_but_what_installers_leave_in_it(project: Path, name: str, *, counts: bool) -> None:
    (project / name).parent.mkdir(parents=True)
    (project / name).write_text("one")
    before = digest_of(str(project))

    (project / name).write_text("two")

    assert (digest_of(str(project)) != before) is counts


def test_a_package_of_that_name_counts_at_the_top_too(project: Path) -> None:
    (project / "build").mkdir()
    (project / "build" / "__init__.py").write_text("one")
    before = digest_of(str(project))

    (project / "build" / "__init__.py").write_text("two")

    assert digest_of(str(project)) != before


def test_a_folder_that_is_a_link_counts_with_its_files(project: Path, place: Path) -> None:
    (place / "shared").mkdir()
    (place / "shared" / "core.py").write_text("one")
    (project / "src" / "shared").symlink_to(place / "shared")
    (project / "src" / "itself").symlink_to(project)
    before = digest_of(str(project))

    (place / "shared" / "core.py").write_text("two")

    assert digest_of(str(project)) != before


def test_a_link_that_leads_nowhere_counts_nothing(project: Path) -> None:
    """An editor's lock file is such a link."""
    before = digest_of(str(project))

    (project / "src" / "shop" / ".#core.py").symlink_to("ada@harbor.4711:1764368412")

    assert digest_of(str(project)) == before
