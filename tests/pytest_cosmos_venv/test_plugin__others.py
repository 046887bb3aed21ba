"""The toolkit lives beside other plugins for pytest, in any order of loading, and beside their fixtures' names.

In ``.cache/envs/crowd``: pytest-randomly, -rerunfailures, -timeout, -split, -cov, -airflow-in-a-box, -postgresql,
time-machine, syrupy and inline-snapshot, all on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres import IS_MISSING, Postgres
from tests.pytest_cosmos_venv.inner_run import InnerRun

# What a project may well have of its own. Nothing of ours may ask for any of it.
CONFTEST = """

@pytest.fixture
def airflow_home(): raise AssertionError("a fixture of the project's own, which none of the toolkit's uses")

dbt_project = venv = frozen_time = wheelhouse = race = airflow_home
"""

OVERRIDES = '''
import pytest

pytestmark = pytest.mark.long


DAG_FILE = """
from datetime import datetime
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, ProfileConfig, ProjectConfig
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping

fleet = DbtDag(
    dag_id="fleet",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    project_config=ProjectConfig(Path(__file__).parent / "fleet"),
    profile_config=ProfileConfig(
        "fleet", "dev", profile_mapping=PostgresUserPasswordProfileMapping("warehouse", {"schema": "fleet"})
    ),
    execution_config=ExecutionConfig(ExecutionMode.VIRTUALENV, virtualenv_dir="/opt/airflow/dbt-environments"),
    operator_args={"py_requirements": ["dbt-core~=1.10.0", "dbt-postgres"]},
)
"""


@pytest.fixture
def cosmos_lock():
    """A user's own. It changes what he asks for, and not the lock of a loaded DAG."""
    return "mine"


@pytest.fixture
def cosmos_dbt():
    return "mine"


def test_an_override_changes_what_was_asked_for_and_nothing_else(
    cosmos_lock, cosmos_dbt, cosmos_project, cosmos_airflow, tmp_path
):
    cosmos_project("fleet").model("arrivals", "select 1 as id")
    (tmp_path / "dag_of_the_fleet.py").write_text(DAG_FILE)

    fleet = cosmos_airflow.load(tmp_path / "dag_of_the_fleet.py", connections="made up")
    dead = fleet.lock.stale()

    assert (cosmos_lock, cosmos_dbt) == ("mine", "mine")
    assert dead > 0
    assert fleet.run().succeeded
'''

ON_POSTGRESQL = """
from datetime import datetime, timezone

import pytest
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from pytest_postgresql import factories

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
postgresql = factories.postgresql("postgresql_noproc")


@pytest.fixture
def connect(cosmos_airflow, postgresql):
    server = postgresql.info

    def connect(host=server.host, port=server.port):
        login = {"login": server.user, "password": server.password, "schema": server.dbname}
        return cosmos_airflow.connections.add("warehouse", conn_type="postgres", host=host, port=port, **login)

    return connect


def test_dbt_is_led_to_a_database_of_the_test_alone(
    postgresql, connect, cosmos_project, cosmos_fake_venv, cosmos_airflow
):
    project = cosmos_project("harbor")
    project.model("ships", "select 1 as id")
    mapping = PostgresUserPasswordProfileMapping(connect(), {"schema": "public"})
    dag = DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=START,
        project_config=ProjectConfig(project.path, manifest_path=project.manifest()),
        profile_config=ProfileConfig("harbor", "dev", profile_mapping=mapping),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.LOCAL, dbt_executable_path=cosmos_fake_venv.dbt
        ),
    )

    cosmos_fake_venv.keep_env("*")
    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded, outcome
    assert (mapping.profile["port"], mapping.profile["dbname"]) == (postgresql.info.port, postgresql.info.dbname)
    assert postgresql.info.password in cosmos_fake_venv.calls[0].env.values()
    assert postgresql.execute("select to_regclass('arrivals')").fetchone() == (None,)
"""

OURS, THEIRS = "pytest_cosmos_venv.plugin", "pytest_airflow_in_a_box.plugin"


@pytest.mark.long
@pytest.mark.parametrize(
    ("order", "options"),
    [
        pytest.param((OURS, THEIRS), ["-n", "2", "--dist", "loadfile"], id="ours-first-n2"),
        pytest.param((THEIRS, OURS), ["-p", "no:xdist", "--reruns", "1"], id="theirs-first"),
    ],
)
def test_everything_passes_in_a_crowd(
    order: tuple[str, str], options: list[str], tmp_path: Path, cache_dir: Path
) -> None:
    run = InnerRun("crowd", tmp_path, cache_dir)
    run.add_everything("dbt_side", "racing", "airflow_side")
    run.add(test_overrides=OVERRIDES)
    with (run.project / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(CONFTEST)
    # Named like this, plugins are loaded in this order, before those with an entry point.
    named = [part for name in order for part in ("-p", name)]
    by_entry_point = ["-p", "no:cosmos_venv", "-p", "no:airflow_in_a_box", "-p", "no:pytest_airflow_in_a_box"]

    done = run.run(
        *named,
        *by_entry_point,
        *options,
        "--timeout=200",
        "--splits=1",
        "--group=1",
        "-p",
        "randomly",
        "--randomly-seed=4711",
        # No implementation is installed there; the checkout has one.
        "--cosmos-implementation=cosmos_venv",
        "--deselect=test_airflow_side.py::test_an_unchanged_seed",
    )

    print(done.output)
    assert done.returncode == 0
    assert done.outcomes.keys() == {"passed"}
    assert done.outcomes["passed"] == (21 if "-n" in options else 19)
    assert "Using --randomly-seed=4711" in done.output
    assert done.processes == []
    assert [report["variables"] for report in run.reports] == [{}] * len(run.reports)


@pytest.mark.long
@pytest.mark.skipif(IS_MISSING, reason="no PostgreSQL in .cache/envs/postgres: make test fetches it")
def test_a_server_of_pytest_postgresql_is_the_warehouse(tmp_path: Path, cache_dir: Path, postgres: Postgres) -> None:
    run = InnerRun("crowd", tmp_path, cache_dir)
    run.add(test_on_postgresql=ON_POSTGRESQL)
    login = {"user": postgres.user, "password": postgres.password, "dbname": "of_a_test"}
    server = {"host": "127.0.0.1", "port": postgres.port, **login}

    done = run.run(
        *(f"--postgresql-{name}={value}" for name, value in server.items()), "--cosmos-implementation=cosmos_venv"
    )

    assert done.outcomes == {"passed": 1}, done.output
    assert done.processes == []
