"""dbt packages with the real dbt: what it installs once is what the next command runs with, wherever it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.operators.local import DbtRunLocalOperator
from tests.installed import DBT, needs_dbt
from tests.kit import MakeTask, harbor_profile, operator_arguments

Output = Callable[[DbtRunLocalOperator], str]

pytestmark = [
    needs_dbt,
    pytest.mark.skipif(shutil.which("git") is None, reason="git packages need git"),
]


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Harbor", "-c", "user.email=harbor@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def cranes(tmp_path: Path) -> Path:
    """A package in a git repository: the macro ``height()`` says 10."""
    folder = tmp_path / "remote" / "cranes"
    (folder / "macros").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: cranes\nversion: '1.0'\n")
    (folder / "macros" / "height.sql").write_text("{% macro height() %}10{% endmacro %}\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "ten")
    return folder


@pytest.fixture
def harbor(dbt_project: Path, cranes: Path) -> Path:
    """A project with a package in git, one beside it and one in it; a model uses all three."""
    for folder, name in ((dbt_project.parent / "shared", "shared"), (dbt_project / "packages" / "inner", "inner")):
        (folder / "macros").mkdir(parents=True)
        (folder / "dbt_project.yml").write_text(f"name: {name}\nversion: '1.0'\n")
        (folder / "macros" / "m.sql").write_text(f"{{% macro {name}_says() %}}'{name}'{{% endmacro %}}\n")
    (dbt_project / "packages.yml").write_text(
        f"packages:\n  - git: file://{cranes}\n    revision: main\n  - local: ../shared\n  - local: packages/inner\n"
    )
    (dbt_project / "models" / "uses.sql").write_text(
        "select {{ cranes.height() }} as h, {{ shared.shared_says() }} as s, {{ inner.inner_says() }} as i\n"
    )
    return dbt_project


@pytest.fixture
def make_run(harbor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeTask:
    """Operators that run the model; each test has a cache of its own."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")

    def make(of: Any = DbtRunLocalOperator, **arguments: Any) -> Any:
        return of(**operator_arguments(harbor, dbt_executable_path=DBT, select="uses") | arguments)

    return make


@pytest.fixture
def output(capfd: pytest.CaptureFixture[str]) -> Output:
    """Runs a task and gives its log."""

    def output(operator: DbtRunLocalOperator) -> str:
        capfd.readouterr()
        operator.execute({})
        return "".join(capfd.readouterr())

    return output


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "packages-v1").glob("*.tar.gz"))


@pytest.mark.long
def test_the_second_task_installs_nothing_and_a_local_package_is_used_as_it_is_now(
    make_run: MakeTask, output: Output, tmp_path: Path, harbor: Path
) -> None:
    """The project wants its packages elsewhere, and has moved, as Airflow 3's bundles do."""
    with (harbor / "dbt_project.yml").open("a") as file:
        file.write("packages-install-path: vendor/dbt\n")
    first = output(make_run())
    moved = Path(shutil.copytree(harbor.parent, tmp_path / "moved", ignore=shutil.ignore_patterns("cache", "remote")))
    shutil.rmtree(harbor.parent / "shared")
    shutil.rmtree(harbor)
    (moved / "shared" / "macros" / "m.sql").write_text("{% macro shared_says() %}'as it is now'{% endmacro %}\n")

    second = output(make_run(project_dir=moved / "harbor", profile_config=harbor_profile(moved / "harbor")))

    (installation,) = kept(tmp_path)
    assert "Installing file://" in first
    assert "Installing" not in second
    assert "The dbt packages are there" in second
    assert "Completed successfully" in second
    with tarfile.open(installation) as tar:
        assert not [name for name in tar.getnames() if ".git" in name.split("/")]
    assert not [name for name in ("vendor", "dbt_packages", "package-lock.yml") if (moved / "harbor" / name).exists()]


@pytest.mark.long
def test_a_branch_is_followed_once_the_installation_is_too_old_and_a_lock_file_pins_it(
    make_run: MakeTask,
    output: Output,
    cranes: Path,
    harbor: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output(make_run())
    (installation,) = kept(tmp_path)
    with tarfile.open(installation) as tar:
        tar.extract("package-lock.yml", tmp_path)
    pinned = (tmp_path / "package-lock.yml").read_text()
    (cranes / "macros" / "height.sql").write_text("{% macro height() %}eleven_of_it{% endmacro %}\n")
    git(cranes, "commit", "-q", "-a", "-m", "eleven")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__PACKAGES_MAX_AGE", "0")

    with pytest.raises(AirflowException, match="eleven_of_it"):
        output(make_run())
    (harbor / "package-lock.yml").write_text(pinned)
    logs = [output(make_run()) for _ in range(2)]

    assert re.findall("Installing file://|packages are there", "".join(logs)) == [
        "Installing file://",
        "packages are there",
    ]
    assert all("Completed successfully" in log for log in logs)
    assert (harbor / "package-lock.yml").read_text() == pinned


@pytest.mark.long
def test_a_project_inside_a_package_uses_the_package_around_it_and_folders_beside_it(
    make_run: MakeTask, output: Output, cranes: Path
) -> None:
    """The ``integration_tests`` of published packages do so."""
    inside = cranes / "integration_tests"
    (cranes / "models").mkdir()
    (cranes / "models" / "crane.sql").write_text("select 1 as id\n")
    for folder, name in ((inside / "models", "uses"), (cranes.parent / "shared" / "models", "far")):
        folder.mkdir(parents=True)
        (folder / f"{name}.sql").write_text("select {{ cranes.height() }} as h from {{ ref('crane') }}\n")
    (inside / "dbt_project.yml").write_text(
        "name: tests\nversion: '1.0'\nprofile: harbor\nmodel-paths: [models, ../../shared/models]\n"
    )
    (inside / "packages.yml").write_text("packages:\n  - local: ../\n")
    before = sorted(cranes.parent.rglob("*"))

    first, second = (output(make_run(project_dir=inside, select="+uses far")) for _ in range(2))

    assert "Installed from <local" in first
    assert "The dbt packages are there" in second
    assert all("PASS=3" in log for log in (first, second))
    assert sorted(cranes.parent.rglob("*")) == before
