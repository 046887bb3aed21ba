"""The checks of astronomer-cosmos, of Airflow 2, of a file that loads by dbt ls, and of this project's example."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.installed import ROOT, install_from_wheels, needs_dbt_wheels
from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject
from tests.pytest_cosmos_venv.dag_checks.test_checks import SOUND
from tests.pytest_cosmos_venv.inner_run import BEFORE_3_13, python_of

pytestmark = pytest.mark.long

LISTING = """
dag = cosmos.DbtDag(
    dag_id="listing",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=cosmos.ProjectConfig(PROJECT),
    profile_config=cosmos.ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
    render_config=cosmos.RenderConfig(load_method=cosmos.LoadMode.DBT_LS, dbt_executable_path="/nowhere/dbt"),
    execution_config=cosmos.ExecutionConfig(execution_mode=cosmos.ExecutionMode.VIRTUALENV),
    operator_args={"py_requirements": ["dbt-core~=1.11.0", "dbt-duckdb"]},
)
"""


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        pytest.param("cosmos", "cosmos", id="cosmos-on-airflow-3"),
        pytest.param("cosmos2", "cosmos", id="cosmos-on-airflow-2", marks=[BEFORE_3_13]),
        pytest.param("cosmos2", "cosmos_venv", id="cosmos_venv-on-airflow-2", marks=BEFORE_3_13),
    ],
)
def test_sound_and_faulty_files_are_told_apart(environment: str, root: str, tmp_path: Path, cache_dir: Path) -> None:
    project = CheckedProject(folder=tmp_path, cache_dir=cache_dir, root=root, python=python_of(environment))
    project.add(
        sound="dag = make('sound')",
        faulty="""
        try:
            from airflow.sdk import Variable
        except ImportError:
            from airflow.models import Variable

        try:
            Variable.get("quay")
        except Exception:
            pass
        dag = make("faulty", render={"select": ["ships"], "test_behavior": TestBehavior.NONE})
        dag.doc_md = " ".join({"pier", "quay", "mole", "berth", "dock"})
        """,
    )

    checked = project.run("-n", "2", "--cosmos-update-snapshots")

    found = checked.verdicts("dags/faulty.py")
    print(checked.output)
    assert checked.verdicts("dags/sound.py") == {**SOUND, "assets": "failed"}  # ships, which the other file has too
    assert found == {
        **SOUND,
        "no_side_effects": "failed",
        "tests": "not checked",
        "assets": "failed",
        "same_dag": "failed",
    }
    assert "variable: asked Airflow for Variable 'quay'" in checked.text("dags/faulty.py", "no_side_effects")


def test_a_file_that_loads_by_dbt_ls_says_that_it_needs_a_dbt(tmp_path: Path) -> None:
    project = CheckedProject(folder=tmp_path, cache_dir=tmp_path / "empty")
    project.add(listing=LISTING)

    checked = project.run()
    in_ci = project.run("-k", "imports", variables={"CI": "true"})

    assert set(checked.verdicts("dags/listing.py").values()) == {"not checked"}
    assert checked.text("dags/listing.py", "imports").startswith(
        "DbtDag listing loads by dbt ls, and no dbt is there to list its nodes: run once with --cosmos-dags-network"
    )
    assert in_ci.verdicts("dags/listing.py") == {"imports": "failed"}


@needs_dbt_wheels
@pytest.mark.timeout(600)
def test_the_example_of_this_project_passes_in_a_kept_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = CheckedProject(folder=tmp_path, cache_dir=tmp_path / "kept")
    shutil.rmtree(project.folder / "dags")
    shutil.rmtree(project.folder / "dbt")
    for folder in ("dags", "dbt"):
        shutil.copytree(ROOT / "examples" / folder, project.folder / folder)
    project.ini(
        "cosmos_dags_exceptions = dags/harbor.py::tests: the files of the ticket machines are tested where they land"
    )
    with monkeypatch.context() as patch:
        install_from_wheels(patch)
        first = project.run("--cosmos-dags-network", "--cosmos-update-snapshots", "-n", "2")

    checked = project.run("-n", "2")

    print(first.output, checked.output)
    expected = {**SOUND, "tests": "exception", "assets": "not checked"}
    assert first.verdicts("dags/harbor.py") == {**expected, "requirements": "passed"}
    assert checked.verdicts("dags/harbor.py") == expected
    assert checked.returncode == 0


def test_requirements_that_fit_nothing_are_told_in_the_installers_words(
    project: CheckedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(tmp_path / "empty"))
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    project.add(
        daily="dag = make(py_requirements=['no-such-dbt==1.0'])",
        bare="""
        dag = make("bare", render={"test_behavior": TestBehavior.NONE})
        for task in dag.tasks:
            task.py_requirements = []
        """,
    )

    checked = project.run("-k", "requirements", "--cosmos-dags-network")

    text = checked.text("dags/daily.py", "requirements")
    assert "The installer finds no set of releases for:" in text
    assert "no-such-dbt==1.0 (task " in text
    assert checked.verdicts("dags/bare.py") == {"requirements": "not checked"}
