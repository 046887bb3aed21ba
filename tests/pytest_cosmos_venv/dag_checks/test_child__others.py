"""The checks of astronomer-cosmos, of Airflow 2, and of a file that loads by dbt ls."""

from __future__ import annotations

from pathlib import Path

import pytest

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
        "DbtDag listing loads by dbt ls, and no dbt is there to list its nodes: name the release that lists them"
    )
    reason = "dags/listing.py: DbtDag listing loads by dbt ls, and no dbt is there to list its nodes: name the release"
    assert checked.output.count(reason) == 1, "below the table, once for all checks"
    assert in_ci.verdicts("dags/listing.py") == {"imports": "failed"}


def test_a_file_that_loads_by_dbt_ls_writes_nothing_into_its_virtualenv_dir(tmp_path: Path) -> None:
    production = tmp_path / "away" / "production"
    project = CheckedProject(folder=tmp_path, cache_dir=tmp_path / "empty")
    mode = "execution_mode=cosmos.ExecutionMode.VIRTUALENV"
    listing = LISTING.replace(mode, f'{mode}, virtualenv_dir="{production}"')
    project.add(listing=listing.replace(', dbt_executable_path="/nowhere/dbt"', ""))

    # No dbt can be installed, so the check ends early.
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "UV_FIND_LINKS": str(tmp_path)}

    checked = project.run("-k", "imports", variables=nowhere)

    assert checked.verdicts("dags/listing.py") == {"imports": "not checked"}
    assert not production.exists()
