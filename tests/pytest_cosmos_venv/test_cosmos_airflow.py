"""A DAG file is loaded as Airflow does it, on folders and Connections of the test, and run; failures say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DAG_FILE = """
from datetime import datetime
from pathlib import Path

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, ProfileConfig, ProjectConfig
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from names import HARBOR

harbor = DbtDag(
    dag_id=HARBOR,
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    project_config=ProjectConfig(Path(__file__).parents[1] / "dbt"),
    profile_config=ProfileConfig(
        profile_name="harbor",
        target_name="dev",
        profile_mapping=PostgresUserPasswordProfileMapping(conn_id="warehouse", profile_args={"schema": "harbor"}),
    ),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir="/srv/dbt/environments"),
    operator_args={"py_requirements": ["dbt-core~=1.10.0", "dbt-postgres"]},
)
"""
FILES = {
    "dags/harbor.py": DAG_FILE,
    "dags/names.py": 'HARBOR = "harbor"\n',
    "dbt/dbt_project.yml": "{name: harbor, version: '1', profile: harbor}\n",
    "dbt/seeds/piers.csv": "id\n1\n",
    "dbt/models/ships.sql": "select * from {{ ref('piers') }}\n",
    "dbt/models/late.sql": "select * from {{ ref('ships') }}\n",
}


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    for name, text in FILES.items():
        file = pytester.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return pytester.path


@pytest.mark.long
def test_a_loaded_file_is_tested_without_a_conftest(pytester: pytest.Pytester, project: Path, cache_dir: Path) -> None:
    pytester.makepyfile(
        """
        from pathlib import Path

        import pytest

        from pytest_cosmos_venv.errors import ToolkitMisuse

        @pytest.fixture
        def harbor(cosmos_airflow):
            return cosmos_airflow.load("dags/harbor.py", connections="made up")

        def test_shape(harbor):
            assert harbor.shape().data["tasks"]["ships_run"]["upstream"] == ["piers_seed"]

        def test_a_model_that_fails(harbor, tmp_path):
            assert harbor.virtualenv_dir.parent.is_dir(), "astronomer-cosmos makes only the last folder"
            assert not harbor.virtualenv_dir.exists()
            harbor.model("ships").fails("no such berth")

            outcome = harbor.run()

            assert outcome.states == {"piers_seed": "success", "ships_run": "failed", "late_run": "upstream_failed"}
            assert "no such berth" in outcome.tasks["ships_run"].log
            assert harbor.virtualenv_dir.parent == tmp_path / "environments"
            assert harbor.virtualenv_dir.name.startswith("environments-")
            assert not Path("/srv/dbt").exists()

            harbor.model("ships").succeeds()

            assert harbor.run().succeeded

        def test_a_misspelt_model_is_refused_by_the_run(harbor):
            harbor.model("shisp").fails()

            with pytest.raises(ToolkitMisuse, match="shisp.*no node of this name. There are: .*ships"):
                harbor.run()

        def test_a_misspelt_model_is_refused_by_the_first_of_several_runs(harbor):
            harbor.model("shisp").fails()

            with pytest.raises(ToolkitMisuse, match="shisp.*no node of this name"):
                harbor.catch_up(until="2026-01-03")

        def test_a_dead_worker(harbor):
            lock = harbor.lock
            dead = lock.stale()

            assert harbor.run().succeeded
            assert dead in [owner.pid for owner in lock.history[:-1]], "nobody took the lock from the dead worker"

        def test_a_secret(cosmos_airflow):
            cosmos_airflow.connections.add(
                "warehouse", conn_type="postgres", host="db", login="crane", password="hunter2", schema="port"
            )
            harbor = cosmos_airflow.load("dags/harbor.py")

            assert harbor.run().succeeded
            assert harbor.leaks("hunter2") == []
            assert {call.command for call in harbor.calls} >= {"seed", "run"}
            (harbor.virtualenv_dir / "note").write_text("hunter2")
            log = Path(harbor.dag.tasks[0].project_dir, "hunter2.log")
            log.write_text("hunter2")
            assert harbor.leaks("hunter2") == sorted([str(harbor.virtualenv_dir / "note"), str(log)])

        def run(contender, dag):
            return dag.run().states

        def test_two_runs_at_once_build_one_environment(harbor, cosmos_race):
            race = cosmos_race(run, harbor)

            assert race.values == (dict.fromkeys(harbor.dag.task_ids, "success"),) * 2
            assert {*harbor.virtualenv_dir.parent.iterdir()} == {harbor.virtualenv_dir}
            assert len({call.prefix for call in harbor.calls if call.command != "ls"}) == 1

        def script(contender, dag):
            dag.model("ships").fails()

        def test_a_contender_cannot_script_dbt(harbor, cosmos_race):
            race = cosmos_race(script, harbor, contenders=1, check=False)

            assert "the test scripts dbt, not a contender" in str(race.outcomes[0].exception)

        def load(contender, airflow):
            airflow.load("dags/harbor.py")

        def test_a_contender_cannot_load(cosmos_airflow, cosmos_race):
            race = cosmos_race(load, cosmos_airflow, contenders=1, check=False)

            assert "Load it in the test, and pass the loaded DAG" in str(race.outcomes[0].exception)

        def test_days(harbor):
            assert len(harbor.catch_up(until="2026-01-03")) >= 2
        """
    )

    result = pytester.runpytest_subprocess(
        f"--cosmos-cache-dir={cache_dir}", "--cosmos-implementation=cosmos_venv", "-p", "no:xdist"
    )

    result.assert_outcomes(passed=10)


def test_what_a_file_lacks_is_said(pytester: pytest.Pytester, project: Path, cache_dir: Path) -> None:
    (project / "dags" / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    pytester.makepyfile(
        """
        def test_connection(cosmos_airflow):
            cosmos_airflow.load("dags/harbor.py")

        def test_nothing_is_made_up_afterwards(cosmos_airflow):
            assert not cosmos_airflow.connections.has("warehouse")

        def test_file(cosmos_airflow):
            cosmos_airflow.load("dags/harbour.py")

        def test_import(cosmos_airflow):
            cosmos_airflow.load("dags/broken.py")

        def test_dag_id(cosmos_airflow):
            cosmos_airflow.load("dags/harbor.py", dag_id="port", connections="made up")
        """
    )

    result = pytester.runpytest_subprocess(
        f"--cosmos-cache-dir={cache_dir}", "--cosmos-implementation=cosmos_venv", "-p", "no:xdist"
    )

    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines_random(
        [
            "dags/harbor.py needs Connections that this test has not given: 'warehouse' (postgres). *",
            "cosmos_airflow.load('dags/harbour.py'): there is no file */dags/harbour.py.",
            "E *ModuleNotFoundError: No module named 'no_such_package'",
            "load('dags/harbor.py', dag_id='port'): name one of its DAGs, dag_id=...: harbor.",
        ]
    )
