"""Sensors of fresh sources and the assets of sources and nodes, with a real dbt on real schedulers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.installed import DBT, needs_dbt
from tests.stacks.stack import AIRFLOW_2, AIRFLOW_3, AIRFLOW_30, ON_A_STACK, Stack, on

pytestmark = [*ON_A_STACK, needs_dbt]

WAITS = {"deferred": "deferred", "rescheduled": "up_for_reschedule"}
"""State of a task that waits, by DAG."""
AFTER_ASSETS = {"after_the_seed", "after_a_model", "after_a_task", "after_its_own"}
PROJECT = {
    "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\n",
    "seeds/piers.csv": "id,name\n1,North\n",
    "models/staging.sql": "select * from {{ ref('piers') }}",
    "models/ships.sql": "select * from {{ source('raw', 'ships') }}",
    "models/sources.yml": """
sources:
  - name: raw
    schema: main
    config: {loaded_at_field: at_time, freshness: {error_after: {count: 1, period: hour}}}
    tables: [{name: ships, identifier: raw_ships}]
""",
}
# DuckDB lets one process write: a pool of one slot.
DAG_FILE = """
import os
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG, EmptyOperator, asset, asset_alias
from cosmos_venv.operators.local import DbtSeedLocalOperator

PROJECT, DBT = Path({project!r}), {dbt!r}
START, POOL = datetime(2026, 1, 1, tzinfo=timezone.utc), {{"pool": "harbor"}}
PROFILE = ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml")
OWN = [asset("x://own")]

def harbor(dag_id, *select, operator_args, **more):
    return DbtDag(
        dag_id=dag_id,
        schedule=None,
        start_date=START,
        default_args=POOL,
        project_config=ProjectConfig(PROJECT, install_dbt_deps=False),
        profile_config=PROFILE,
        execution_config=ExecutionConfig("local", dbt_executable_path=DBT, invocation_mode="subprocess"),
        render_config=RenderConfig(
            load_method="dbt_ls", dbt_executable_path=DBT, test_behavior="none", select=list(select), **more
        ),
        operator_args=operator_args,
    )

for dag_id, waiting in {{
    "deferred": {{"deferrable": True, "poke_interval": 1}}, "rescheduled": {{"poke_interval": 10}}
}}.items():
    globals()[dag_id] = harbor(
        dag_id, "source:raw", "ships", source_rendering_behavior="all", wait_for_sources=True,
        operator_args={{"emit_source_assets": True, **waiting}},
    )
nodes = harbor("nodes", "piers", "staging", operator_args={{"outlets": OWN}})

def load():
    return dict(project_dir=PROJECT, profile_config=PROFILE, dbt_executable_path=DBT, install_deps=False, **POOL)

def without_alias(context):
    os.environ["AIRFLOW__COSMOS__ENABLE_DATASET_ALIAS"] = "False"

with DAG("mapped", schedule=None, start_date=START) as mapped:
    # An alias that Airflow 2 does not see while it parses.
    DbtSeedLocalOperator.partial(task_id="load", **load()).expand(full_refresh=[True])
with DAG("unaliased", schedule=None, start_date=START) as unaliased:
    DbtSeedLocalOperator(task_id="load", on_execute_callback=without_alias, **load())
for dag_id, waited_for in {{
    "after_a_source": asset({uri!r}.format("raw_ships")),
    "after_the_seed": asset({uri!r}.format("piers")),
    "after_a_model": asset({uri!r}.format("staging")),
    "after_a_task": asset_alias("nodes__staging_run"),
    "after_its_own": OWN[0],
}}.items():
    with DAG(dag_id, schedule=[waited_for], start_date=START, is_paused_upon_creation=False) as globals()[dag_id]:
        EmptyOperator(task_id="report")
"""


@dataclass
class Harbor:
    """DAGs that read a source, and DAGs that wait for an asset."""

    stack: Stack
    database: Path

    @property
    def kind(self) -> str:
        return "dataset" if self.stack.kind.is_2 else "asset"

    def load(self, age: str) -> None:
        """Give the source one row of this age, in a moment when no dbt has the database."""
        row = f"create or replace table raw_ships as select now()::timestamp - interval '{age}' as at_time, 1 as id"

        def has_written() -> bool:
            try:
                with duckdb.connect(str(self.database)) as database:
                    database.execute(row)
            except duckdb.IOException:
                return False
            return True

        self.stack.wait_until(has_written, "no dbt has the database")

    def succeeds(self, dag_id: str, run_id: str) -> None:
        state, states = self.stack.end(dag_id, run_id)
        assert (state, {*states.values()}) == ("success", {"success"}), self.stack.logs()

    def events_of_source(self) -> list[dict[str, Any]]:
        """What the events of the source carry."""
        return [json.loads(extra) for *_, extra in self.events("%raw_ships")]

    def events(self, uri: str) -> Sequence[Sequence[str]]:
        """DAG, task, index, address and facts of the events of assets whose addresses are like this one."""
        facts = "source_dag_id, source_task_id, source_map_index, uri, event.extra"
        return self.stack.ask(
            f"select {facts} from {self.kind}_event event join {self.kind} asset on asset.id = {self.kind}_id "  # noqa: S608
            f"where uri like '{uri}' order by event.id"
        )

    def triggered(self) -> set[str]:
        """The DAGs that events have let run with success."""
        rows = self.stack.ask(
            f"select dag_id from dag_run where run_type = '{self.kind}_triggered' and state = 'success'"  # noqa: S608
        )
        return {dag_id for (dag_id,) in rows}


def prepare(stack: Stack) -> Harbor:
    project, database = stack.folder / "sources", stack.folder / "harbor.duckdb"
    target = {"type": "duckdb", "path": str(database), "retries": {"connect_attempts": 10}}
    profiles = json.dumps({"harbor": {"target": "dev", "outputs": {"dev": target}}})
    for name, text in {**PROJECT, "profiles.yml": profiles}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    uri = f"duckdb://{database}/{('.' if stack.kind.is_2 else '/').join(['harbor', 'main', '{}'])}"
    stack.write("sources", DAG_FILE.format(project=str(project), dbt=str(DBT), uri=uri))
    stack.new_pool("harbor", 1)
    return Harbor(stack, database)


@on(AIRFLOW_3, AIRFLOW_30, AIRFLOW_2)
def test_models_run_once_their_source_is_fresh_and_a_dag_that_waits_for_it_runs_for_new_data(scene: Harbor) -> None:
    stack = scene.stack
    scene.load("3 hours")
    for dag_id in WAITS:
        stack.trigger(dag_id, "first")
    for dag_id, state in WAITS.items():
        stack.wait_until(
            lambda: stack.states(dag_id).get("raw_ships_source") == state,  # noqa: B023 - called in this round
            f"{dag_id} waits",
        )
    assert scene.events_of_source() == []
    scene.load("1 minute")
    for dag_id in WAITS:
        scene.succeeds(dag_id, "first")
        assert {*stack.states(dag_id)} == {"raw_ships_source", "ships_run"}

    # Two that look at the same moment may both tell of the same data.
    first = scene.events_of_source()
    assert 1 <= len(first) <= len(WAITS), stack.logs()
    assert {each["status"] for each in first} == {"pass"}
    assert set(first[0]) == {"max_loaded_at", "snapshotted_at", "age_seconds", "status"}
    stack.trigger("deferred", "nothing-new")
    scene.succeeds("deferred", "nothing-new")
    assert scene.events_of_source() == first, stack.logs()

    scene.load("1 second")
    stack.trigger("rescheduled", "new-data")
    scene.succeeds("rescheduled", "new-data")
    *before, last = scene.events_of_source()
    assert before == first, stack.logs()
    assert last["max_loaded_at"] > first[-1]["max_loaded_at"]
    stack.wait_until(lambda: "after_a_source" in scene.triggered(), "the DAG that waits for the source runs")


@on(AIRFLOW_3, AIRFLOW_2)
def test_dags_that_wait_for_an_asset_of_a_node_run(scene: Harbor) -> None:
    stack = scene.stack
    stack.trigger("nodes", "first")
    scene.succeeds("nodes", "first")
    if stack.kind.is_2:  # it links an alias to its assets when it parses the DAG that waits
        stack.read_dag_files()
        stack.trigger("nodes", "second")
        scene.succeeds("nodes", "second")
    # Airflow 3 has no other way than the alias.
    for dag_id in ("mapped", *(["unaliased"] if stack.kind.is_2 else [])):
        stack.trigger(dag_id, "first")
        scene.succeeds(dag_id, "first")

    stack.wait_until(lambda: scene.triggered() >= AFTER_ASSETS, "the DAGs that wait for assets run")
    given = {(*task, uri.replace("/", ".").rpartition(".")[2]) for *task, uri, _ in scene.events(f"%{scene.database}%")}
    assert {each for each in given if each[0] not in WAITS} == {
        ("nodes", "piers_seed", "-1", "piers"),
        ("nodes", "staging_run", "-1", "staging"),
        ("mapped", "load", "0", "piers"),
        *([("unaliased", "load", "-1", "piers")] if stack.kind.is_2 else []),
    }
