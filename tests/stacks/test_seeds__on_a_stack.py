"""Seeds in tasks as Airflow 3 runs them: a process for each, without a database, that asks its supervisor."""

from __future__ import annotations

from pytest_cosmos_venv import FakeVenv
from tests.stacks.stack import AIRFLOW_3, ON_A_STACK, Stack, on

pytestmark = [*ON_A_STACK, on(AIRFLOW_3)]

# One seed of one DAG, loaded by one task after the other, so that one run is enough.
DAG_FILE = """
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from airflow.sdk import DAG, chain, task
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.local import DbtSeedLocalOperator

PROJECT, DATABASE = Path({project!r}), {database!r}

def load(task_id):
    return DbtSeedLocalOperator(
        task_id=task_id,
        project_dir=PROJECT,
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        dbt_executable_path={dbt!r},
        select="piers",
        env={{"TASK": task_id}},
        extra_context={{
            "dbt_node_config": {{"unique_id": "seed.harbor.piers", "original_file_path": "seeds/piers.csv"}},
            "package_name": "harbor",
            "should_run_if_seed_changed": True,
        }},
    )

def say(statement):
    import psycopg2

    with closing(psycopg2.connect(DATABASE)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()

with DAG("seeds", schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
    @task
    def change():
        (PROJECT / "seeds" / "piers.csv").write_text("id,name\\n2,South\\n")

    @task
    def break_down():
        # The API server, which has the table, fails from now on.
        say("alter table variable rename to away")

    @task
    def repair():
        say("alter table away rename to variable")

    chain(
        load("first"), load("unchanged"), change(), load("changed"), load("unchanged_again"),
        break_down(), load("without_variables"), repair(), load("unchanged_after_all"),
    )
"""


def prepare(stack: Stack) -> tuple[Stack, FakeVenv]:
    project, dbt = stack.folder / "seeds", stack.new_dbt("seeds")
    for name, text in {
        "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\n",
        "profiles.yml": "harbor: {target: dev, outputs: {dev: {type: duckdb, path: ':memory:'}}}\n",
        "seeds/piers.csv": "id,name\n1,North\n",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    database = f"postgresql://{stack.postgres.address}"
    stack.write("seeds", DAG_FILE.format(project=str(project), database=database, dbt=str(dbt.dbt)))
    # Fewer than Airflow's own five, which wait for a minute.
    stack.variables |= {
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "3",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "1",
    }
    return stack, dbt


def test_a_task_without_a_database_remembers_and_goes_on_where_it_cannot(scene: tuple[Stack, FakeVenv]) -> None:
    stack, dbt = scene

    stack.unpause("seeds")
    state, states = stack.end("seeds")

    told = stack.log_of("seeds", "*")
    assert (state, {*states.values()}) == ("success", {"success"}), stack.logs()
    loaded = [call.env["TASK"] for call in dbt.calls]
    assert loaded == ["first", "changed", "without_variables"], told
    assert "The Variable cosmos_venv_seed__seeds.piers__" in told
    assert told.count("cannot be written") == 1
    kept = stack.ask("select key, description from variable where key like 'cosmos_venv_seed%'")
    assert [key.startswith("cosmos_venv_seed__seeds.piers__") for key, _ in kept] == [True]
    assert kept[0][1].startswith("cosmos-venv: what seed.harbor.piers held when seeds loaded it last.")
