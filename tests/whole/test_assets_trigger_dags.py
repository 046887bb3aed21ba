"""A DAG runs when the dbt nodes that it waits for have run: on Airflow 3 and 2, with a real dbt and scheduler."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cosmos_venv.compat import ASSET_URIS_HAVE_SLASHES
from tests.installed import AIRFLOW_2, DBT, needs_airflow_2, needs_dbt
from tests.operators.whole_airflow import WholeAirflow

pytestmark = [pytest.mark.long, needs_dbt]

# The processor of DAG files looks for the word airflow in them.
DAG_FILE = """
import os
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ExecutionConfig, LoadMode, ProfileConfig, ProjectConfig, RenderConfig, TestBehavior
from cosmos_venv.compat import DAG, IS_AIRFLOW_3, EmptyOperator, asset, asset_alias
from cosmos_venv.operators.local import DbtSeedLocalOperator

start = datetime(2026, 1, 1, tzinfo=timezone.utc)
profile = ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml")
own = [asset("x://own")]
harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=start,
    project_config=ProjectConfig({project!r}),
    profile_config=profile,
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS, test_behavior=TestBehavior.NONE),
    operator_args={{"outlets": own}},
)
with DAG("mapped", schedule=None, start_date=start) as mapped:
    # An alias that Airflow 2 does not see while it parses.
    DbtSeedLocalOperator.partial(
        task_id="load", project_dir={project!r}, profile_config=profile, dbt_executable_path={dbt!r}
    ).expand(full_refresh=[True])
with DAG("unaliased", schedule=None, start_date=start) as unaliased:
    DbtSeedLocalOperator(task_id="load", project_dir={project!r}, profile_config=profile, dbt_executable_path={dbt!r})
for dag_id, waited_for in {{
    "after_the_seed": asset({uri!r}.format("piers")),
    "after_a_model": asset({uri!r}.format("staging")),
    "after_a_task": asset_alias("harbor__staging_run"),
    "after_its_own": own[0],
}}.items():
    with DAG(dag_id, schedule=[waited_for], start_date=start, is_paused_upon_creation=False):
        EmptyOperator(task_id="report")
    globals()[dag_id] = None
if __name__ == "__main__":
    for dag in (harbor, mapped):
        dag.test()
    if not IS_AIRFLOW_3:
        os.environ["AIRFLOW__COSMOS__ENABLE_DATASET_ALIAS"] = "False"
        unaliased.test()
"""


@pytest.fixture(
    params=[
        pytest.param((Path(sys.executable), "/" if ASSET_URIS_HAVE_SLASHES else "."), id="this-airflow"),
        pytest.param((AIRFLOW_2, "."), id="airflow-2", marks=needs_airflow_2),
    ]
)
def ran(request: pytest.FixtureRequest, dbt_project: Path, tmp_path: Path) -> WholeAirflow:
    """An Airflow after two DAGs of dbt tasks have run, and then its scheduler."""
    python, separator = request.param
    (dbt_project / "models" / "mart.sql").unlink()
    database = tmp_path / "harbor.duckdb"
    (dbt_project / "profiles.yml").write_text(
        json.dumps({"harbor": {"outputs": {"dev": {"type": "duckdb", "path": str(database)}}}})
    )
    uri = f"duckdb://{database}/{separator.join(['harbor', 'main', '{}'])}"
    airflow = WholeAirflow(python=python, folder=tmp_path)
    airflow.run_dag_file(DAG_FILE.format(project=str(dbt_project), dbt=str(DBT), uri=uri))
    if separator == ".":
        airflow.airflow(
            "dags", "reserialize"
        )  # Airflow 2 links an alias to its assets when it parses the DAG that waits
    airflow.airflow("scheduler", "--num-runs", "5")
    return airflow


def test_dags_that_wait_for_an_asset_run(ran: WholeAirflow) -> None:
    runs = ran.ask("select dag_id, run_type, state from dag_run order by dag_id")

    tables = {name for (name,) in ran.ask("select name from sqlite_master")}
    kind = "asset" if "asset" in tables else "dataset"
    triggered = f"{kind}_triggered"
    # Airflow 3 has no other way than the alias.
    unaliased = [("unaliased", "manual", "success")] if kind == "dataset" else []
    assert runs == [
        *((dag_id, triggered, "success") for dag_id in ("after_a_model", "after_a_task", "after_its_own")),
        ("after_the_seed", triggered, "success"),
        ("harbor", "manual", "success"),
        ("mapped", "manual", "success"),
        *unaliased,
    ]
    given = ran.ask(
        f"select source_dag_id, source_task_id, source_map_index, uri from {kind}_event join {kind} "  # noqa: S608
        f"on {kind}.id = {kind}_event.{kind}_id where uri like 'duckdb%' order by 1, 2, 3"
    )
    assert [(*task, uri.replace("/", ".").rpartition(".")[2]) for *task, uri in given] == [
        ("harbor", "piers_seed", -1, "piers"),
        ("harbor", "staging_run", -1, "staging"),
        ("mapped", "load", 0, "piers"),
        *([("unaliased", "load", -1, "piers")] if unaliased else []),
    ]
