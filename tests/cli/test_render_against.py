"""``cosmos-venv render --against``: a stored plan, a git revision, and what is neither."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from pytest_cosmos_venv import DbtProjects
from tests.whole.page_outputs import shown_by

PROJECT = Path(__file__).parents[1] / "data" / "rendering-project"

DAG_FILE = """
# airflow
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from chosen import SELECT

PROJECT = Path(__file__).parent / "project"
whole = DbtDag(
    dag_id="whole",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(project_name="ops", manifest_path=PROJECT / "manifest.json"),
    profile_config=ProfileConfig("ops", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    execution_config=ExecutionConfig(dbt_project_path=PROJECT),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=SELECT),
)
"""


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose DAG file takes its selection from a module beside it; the selection has changed since."""
    dags = tmp_path / "repository" / "dags"
    shutil.copytree(PROJECT, dags / "project")
    (dags / "shop.py").write_text(DAG_FILE)
    (dags / "chosen.py").write_text("SELECT = ['stg_vessels']\n")
    git(dags.parent, "init", "--quiet", "--initial-branch", "main")
    git(dags.parent, "add", "--all", "--force")
    git(dags.parent, "commit", "--quiet", "--message", "first")
    (dags / "chosen.py").write_text("SELECT = ['stg_vessels', 'fleet_summary']\n")
    return dags.parent


@pytest.mark.long
def test_a_dag_file_is_compared_with_a_revision(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its helper modules are those of the revision too."""
    code = main(["render", str(repository / "dags" / "shop.py"), "--against", "main"])

    assert code == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("whole against main: 2 tasks added") for line in lines)
    assert "added     fleet_summary.run" in lines
    status = subprocess.run(
        ["git", "status", "--short", "--untracked-files=no"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert status.stdout == " M dags/chosen.py\n", "the repository is as it was"


HARBOR = """
# airflow
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

PROJECT = Path(__file__).parent / "harbor"
harbor = DbtDag(
    dag_id="harbor",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(PROJECT, manifest_path=PROJECT / "target" / "manifest.json"),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
)
"""


@pytest.mark.long
def test_the_page_shows_what_is_printed(
    tmp_path: Path,
    cosmos_dbt_project: DbtProjects,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = cosmos_dbt_project("harbor")
    project.model("stg_vessels", "select 1 as id")
    project.model("mart", "select * from {{ ref('stg_vessels') }}")
    project.manifest()
    dags = tmp_path / "repository" / "dags"
    shutil.copytree(project.path, dags / "harbor")
    (dags / "harbor.py").write_text(HARBOR)
    git(dags.parent, "init", "--quiet", "--initial-branch", "main")
    git(dags.parent, "add", "--all", "--force")
    git(dags.parent, "commit", "--quiet", "--message", "first")
    project.delete("stg_vessels")
    project.model("stg_vessels", "select 1 as id", tests={"id": ["unique"]})
    project.manifest()
    shutil.copytree(project.path, dags / "harbor", dirs_exist_ok=True)
    monkeypatch.chdir(dags.parent)

    main(["render", "dags/harbor.py", "--against", "main"])

    printed = capsys.readouterr().out.splitlines()
    assert shown_by("reference/cli.md", "render dags/harbor.py --against main") == printed


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A stored plan of a part of the project."""
    plan = tmp_path / "plan.json"
    words = ["--select", "stg_vessels", "--format", "json", "--output", str(plan)]
    assert main(["render", str(PROJECT / "manifest.json"), *words]) == 0
    return plan


def test_a_project_is_compared_with_a_stored_plan(stored: Path, tmp_path: Path) -> None:
    changes = tmp_path / "changes.json"
    words = ["--select", "stg_vessels", "snap_vessels", "--against", str(stored), "--json", "--output", str(changes)]

    assert main(["render", str(PROJECT / "manifest.json"), *words]) == 0

    found = json.loads(changes.read_text())
    assert found["added"] == ["snap_vessels.snapshot", "snap_vessels.test"]
    assert found["removed"] == found["renamed"] == []
    assert ["stg_vessels_run", "snap_vessels.snapshot"] in found["edges_added"]


@pytest.mark.parametrize(
    ("file", "against", "words"),
    [
        ("shop.py", "nowhere-at-all", "neither the file of a plan nor a git revision"),
        ("shop.py", "--upload-pack=x", "neither the file of a plan nor a git revision"),
        ("shop.py", "other.json", "is no plan"),
        ("new.py", "main", "has no dags/new.py"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    file: str,
    against: str,
    words: str,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(repository / "dags")
    Path("other.json").write_text("{}")
    shutil.copy("shop.py", "new.py")

    assert main(["render", file, f"--against={against}"]) == 1

    assert words in capsys.readouterr().err


@pytest.mark.long
def test_a_revision_whose_file_cannot_be_imported_is_told_in_its_words(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "dags" / "chosen.py").write_text("SELECT = 1 / 0\n")
    git(repository, "commit", "--quiet", "--all", "--message", "broken")
    (repository / "dags" / "chosen.py").write_text("SELECT = []\n")

    assert main(["render", str(repository / "dags" / "shop.py"), "--against", "main"]) == 1

    said = capsys.readouterr().err
    assert "cannot be rendered as it was there" in said
    assert "ZeroDivisionError" in said
