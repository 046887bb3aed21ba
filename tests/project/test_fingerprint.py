"""The files of a dbt project that decide the answer of dbt ls: all that dbt reads, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.project.fingerprint import Tree, fingerprint


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The root of a repository that is a dbt package."""
    folder = tmp_path / "cranes"
    write(folder / "dbt_project.yml", "name: cranes\nmacro-paths: [macros, \"{{ env_var('MORE', 'more/macros') }}\"]\n")
    write(folder / ".venv" / "pyvenv.cfg", "home = /usr/bin\n")
    write(folder / "tests" / "venv" / "pyvenv.cfg", "home = /usr/bin\n")
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def digest(folder: Path, **variables: str) -> str:
    return fingerprint(Tree(folder=folder, environment=variables, packages_folder="dbt_packages")).digest


@pytest.mark.parametrize(
    "name",
    [
        "dbt_project.yml",
        "packages.yml",
        "dependencies.yml",
        "package-lock.yml",
        "selectors.yml",
        ".dbtignore",
        "macros/m.sql",
        "more/macros/deep/er/m.sql",
        "models/a.sql",
        "models/a.py",
        "models/a.yaml",
        "models/a.md",
        "models/.hidden/a.sql",
        "models/target/a.sql",
        "seeds/a.csv",
        "snapshots/s.sql",
        "snapshots/s.yml",
        "tests/t.sql",
        "tests/generic/t.sql",
        "analyses/a.sql",
        "functions/f.sql",
        "dbt_packages/kit/dbt_project.yml",
        "dbt_packages/kit/macros/m.sql",
        "dbt_packages/kit/models/a.md",
    ],
)
def test_what_dbt_reads_counts(package: Path, name: str) -> None:
    before = digest(package)

    write(package / name, f"name: cranes\n# {name}\n")

    assert digest(package) != before


@pytest.mark.parametrize(
    "name",
    [
        ".venv/lib/module.py",
        "tests/venv/lib/module.py",
        "setup.py",
        "README.md",
        "docs/conf.py",
        "data/other.csv",
        "node_modules/a/a.md",
        "models/node_modules/a/a.md",
        ".github/workflows/ci.yml",
        "target/run.sql",
        "models/.git/a.sql",
        "models/__pycache__/a.py",
        "models/a.txt",
        ".user.yml",
        "elsewhere/a.sql",
        "dbt_packages/kit/setup.py",
        "dbt_packages/kit/integration_tests/models/a.sql",
        "dbt_packages/kit/x/pyvenv.cfg",
    ],
)
def test_what_dbt_does_not_read_counts_for_nothing(package: Path, name: str) -> None:
    write(package / "dbt_packages" / "kit" / "dbt_project.yml", "name: kit\n")
    before = digest(package)

    write(package / name, "name: cranes\n")

    assert digest(package) == before


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        ("model-paths: [sql]", "sql/a.sql"),
        ("model-paths: ['./sql/', 'sql/deep']", "sql/deep/a.sql"),
        ("docs-paths: [texts]", "texts/a.md"),
        ("model-paths: ['.']", "anywhere/a.sql"),
        ("model-paths: [\"{{ var('x') }}\"]", "anywhere/a.sql"),
        ("model-paths: sql", "anywhere/a.sql"),
        ("macro-paths: [", "anywhere/a.sql"),
    ],
)
def test_folders_are_those_of_dbt_project_or_all_where_only_dbt_can_tell(package: Path, paths: str, name: str) -> None:
    write(package / "dbt_project.yml", f"name: cranes\n{paths}\n")
    before = digest(package)
    write(package / ".venv" / "lib" / "module.py", "changed")
    write(package / ".git" / "a.yml", "changed")

    unchanged = digest(package)
    write(package / name, "select 1")

    assert unchanged == before
    assert digest(package) != before


FOLDERS = "target-path: build/out\nlog-path: \"{{ env_var('LOGS', 'said') }}\""


@pytest.mark.parametrize(
    ("folders", "name", "counts"),
    [
        ("", "target/compiled/a.sql", False),
        ("", "logs/a.sql", False),
        ("", "deep/target/a.sql", True),
        (FOLDERS, "target/a.sql", True),
        (FOLDERS, "logs/a.sql", True),
        (FOLDERS, "build/out/a.sql", False),
        (FOLDERS, "said/a.sql", False),
    ],
)
def test_where_all_of_a_project_counts_the_folders_that_dbt_writes_do_not(
    package: Path, folders: str, name: str, counts: bool
) -> None:
    write(package / "dbt_project.yml", f"name: cranes\nmodel-paths: ['.']\n{folders}\n")
    before = digest(package)

    write(package / name, "select 1")

    assert (digest(package) != before) is counts


@pytest.mark.parametrize("name", ["target/a.sql", "logs/a.sql"])
def test_no_name_is_left_out_of_a_folder_outside_the_project(package: Path, name: str) -> None:
    before = fingerprint(Tree(folder=package)).digest

    write(package / name, "select 1")

    assert fingerprint(Tree(folder=package)).digest != before


def test_a_link_to_the_repository_among_installed_packages_counts_as_that_package(
    tmp_path: Path, package: Path
) -> None:
    """``dbt deps`` makes such a link of ``local: ../``."""
    project = package / "integration_tests"
    write(project / "dbt_project.yml", "name: tests\n")
    (project / "dbt_packages").mkdir()
    (project / "dbt_packages" / "cranes").symlink_to("../..")
    before = digest(project)
    for name in (".venv/lib/module.py", "setup.py", "integration_tests/logs/a.sql", "docs/a.md"):
        write(package / name, "changed")

    unchanged = digest(project)
    write(package / "models" / "a.sql", "select 1")

    assert unchanged == before
    assert digest(project) != before


def test_everything_counts_in_a_folder_that_is_no_project(package: Path) -> None:
    tree = Tree(folder=package)
    before = fingerprint(tree).digest
    write(package / ".venv" / "lib" / "module.py", "changed")

    unchanged = fingerprint(tree).digest
    write(package / "anywhere" / "a.sql", "select 1")

    assert unchanged == before
    assert fingerprint(tree).digest != before


def test_the_seeds_are_those_that_dbt_loads(package: Path) -> None:
    for name in ("seeds/deep/a.csv", "data/b.csv", ".venv/c.csv"):
        write(package / name, "id\n")

    assert Tree(folder=package, environment={}).seeds() == [package / "seeds" / "deep" / "a.csv"]
