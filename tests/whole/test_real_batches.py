"""Batches for real: a DAG of the example project on each release of dbt, and tries that are killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import pytest

from cosmos_venv import DbtDag
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from pytest_cosmos_venv import CosmosAirflow, DagOutcome
from tests.engines import DBT_1, DBT_2, PLAIN_AND_WARM, Engine
from tests.installed import copy_of_example

KILLS = 50
CHAIN = 12
# The count takes some 50 ms.
MODEL = """\
{{ config(materialized='table', post_hook="insert into runs values ('" ~ this.name ~ "')") }}
select n + 1 as n, (select count(*) from range(20000000) where range % 7 = 3) as c from SOURCE
"""
# Arguments: JSON. Runs one try of a batch, as a worker does.
ONE_TRY = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtBatchVirtualenvOperator

given = json.loads(sys.argv[1])
project = Path(given["project"])
ti = SimpleNamespace(
    dag_id="harbor", run_id="night", task_id="all_batch", try_number=given["number"], max_tries=1000,
    xcom_push=lambda **_: None,
)
DbtBatchVirtualenvOperator(
    task_id="all_batch",
    project_dir=project,
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
    nodes=given["nodes"],
    indirect_selection="empty",
    virtualenv_dir=given["directory"],
    install_deps=False,
    **given["arguments"],
).execute({"ti": ti, "run_id": "night"})
"""


def render(
    engine: Engine, project: Path, directory: Path, *, more_args: Mapping[str, Any] = MappingProxyType({}), **more: Any
) -> DbtDag:
    return DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=directory),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS, **more),
        operator_args={**engine.arguments, **more_args},
    )


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize(("engine", "warm"), PLAIN_AND_WARM)
def test_a_dag_of_batches_builds_the_example_project(
    engine: Engine,
    warm: str,
    kept_directory: Path,
    tmp_path: Path,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine.require()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", warm)
    project = copy_of_example(tmp_path / "harbor", "snapshots")  # which name another dbt
    write_profile(project)
    dag = render(engine, project, kept_directory, batch_by="folder")

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded
    batches: list[Any] = [task for task in dag.tasks if task.task_id.endswith("_batch")]
    assert len(batches) == len(dag.tasks) < len(dag.dbt_graph.filtered_nodes)
    built = Counter(each for task in batches for each in task.nodes)
    # A source has no task here, and so its tests have none, as with a task a node.
    wanted = [each for each in dag.dbt_graph.filtered_nodes if not each.startswith(("source.", "test.harbor.source_"))]
    assert built == dict.fromkeys(wanted, 1), "each node and test once"
    rows: list[dict[str, Any]] = [row for task in batches for row in outcome.tasks[task.task_id].xcoms["dbt_nodes"]]
    assert Counter(row["node"] for row in rows) == built
    assert {row["status"] for row in rows} <= {"success", "pass", "no-op"}
    assert all(row["seconds"] > 0 for row in rows if row["node"].startswith(("model.", "seed.")))


FILES = {
    "models/orders.sql": "select 1 as id",
    "models/orders/lines.sql": "select * from {{ ref('orders') }}",
    "models/piers.sql": "select * from {{ ref('part') }}",
    "models/part.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('orders') }}",
    "models/apart/far.sql": "select * from {{ ref('part') }}",
    "models/blank.sql": "",
    "models/off.sql": "{{ config(enabled=false) }} select * from {{ ref('orders') }}",
    "tests/orders.sql": "select * from {{ ref('orders') }} where id is null",
    "models/schema.yml": """
models:
  - {name: orders, columns: [{name: id, data_tests: [{not_null: {name: has_an_id}}]}]}
  - {name: piers, columns: [{name: id, data_tests: [{not_null: {name: has_an_id}}]}]}
  - {name: part, columns: [{name: id, data_tests: [unique]}]}
unit_tests:
  - {name: adds_up, model: orders, given: [], expect: {rows: [{id: 1}]}}
""",
}
"""Nodes whose fqns are the beginnings of others: shop.orders of a model, its unit test, a test and a model below. And
a model without SQL, and one that is disabled."""
BLANK = "model.shop.blank"
"""It is no node of dbt 2."""


def ran_in(outcome: DagOutcome) -> list[str]:
    """What dbt has run in batches, by its results: those of nodes that nobody wanted are rows too."""
    rows: list[dict[str, Any]] = [
        row
        for task in outcome.tasks.values()
        for row in task.xcoms.get("dbt_nodes", ())
        if row["node"] != "model.shop.part"  # dbt 2 calls an ephemeral model skipped that others read
    ]
    assert {row["status"] for row in rows if row["node"] != BLANK} <= {"success", "pass"}, rows
    assert {row["status"] for row in rows if row["node"] == BLANK} <= {"no-op"}
    return sorted(row["node"] for row in rows)


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize(("engine", "batch_by"), [(DBT_1, "wave"), (DBT_2, "chain")], ids=["dbt-1", "dbt-2"])
def test_dbt_runs_nothing_but_the_nodes_of_a_batch(
    engine: Engine, batch_by: str, kept_directory: Path, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    engine.require()
    project = written_project(tmp_path / "shop", FILES)

    with_tests = render(engine, project, kept_directory, batch_by=batch_by)
    outcome = cosmos_airflow.run(with_tests)

    assert outcome.succeeded
    nodes = with_tests.dbt_graph.filtered_nodes
    assert ran_in(outcome) == sorted({*nodes} - {"model.shop.part"} - of_other_tasks(with_tests))

    # dbt has chosen: nobody knows of the model that is left out, nor of the tests.
    alone = render(
        engine, project, kept_directory, batch_by=batch_by, test_behavior="none", exclude=["lines", "adds_up"]
    )
    outcome = cosmos_airflow.run(alone)

    assert outcome.succeeded
    blank = [BLANK] if BLANK in nodes else []
    assert ran_in(outcome) == [*blank, "model.shop.far", "model.shop.orders", "model.shop.piers"]


def of_other_tasks(dag: DbtDag) -> set[str]:
    """The tests that have tasks of their own."""
    names = {task.task_id.removesuffix("_test") for task in dag.tasks if task.task_id.endswith("_test")}
    return {each for each in dag.dbt_graph.filtered_nodes if each.split(".")[2] in names}


def written_project(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "dbt_project.yml").write_text("name: shop\nversion: '1.0'\nprofile: harbor\n")
    write_profile(folder)
    return folder


def write_profile(project: Path) -> None:
    target = f"{{type: duckdb, path: '{project}/harbor.duckdb', threads: 1}}"
    (project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n")


def chain_project(folder: Path) -> dict[str, str]:
    """A project of models of which each reads the one before, and takes some time; returns its nodes."""
    (folder / "models").mkdir(parents=True)
    hook = 'on-run-start: "create table if not exists runs (name varchar)"'
    (folder / "dbt_project.yml").write_text(f"name: harbor\nversion: '1.0'\nprofile: harbor\n{hook}\n")
    write_profile(folder)
    for number in range(CHAIN):
        source = f"{{{{ ref('m{number - 1:02}') }}}}" if number else "(select 0 as n)"
        (folder / "models" / f"m{number:02}.sql").write_text(MODEL.replace("SOURCE", source))
    return {f"model.harbor.m{number:02}": f"m{number:02}" for number in range(CHAIN)}


def tries_in(cache: Path) -> dict[int, dict[str, set[str]]]:
    """By number of each try the nodes that its journal has begun, and those that it has done."""
    tries = {}
    for path in cache.glob("journals-v1/*/*.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        # A hook of the project runs in each try.
        events = [each for each in events if str(each.get("id")).startswith("model.")]
        done = {each["id"] for each in events if each.get("is_end") and each["status"] == "success"}
        tries[int(path.stem)] = {"begun": {each["id"] for each in events}, "done": done}
    return tries


@pytest.mark.long
@pytest.mark.timeout(560)
def test_a_killed_try_is_gone_on_with_and_nothing_that_is_done_runs_again(
    kept_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DBT_2.require()
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    chance = random.Random(26)  # noqa: S311 - moments
    kills, number, finished = 0, 0, 0
    while kills < KILLS:
        project, cache = tmp_path / f"harbor-{finished}", tmp_path / f"cache-{finished}"
        nodes = chain_project(project)
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(cache))
        in_flight: Counter[str] = Counter()
        for number in range(1, 100):
            before = {node for each in tries_in(cache).values() for node in each["done"]}
            given = {"project": str(project), "directory": str(kept_directory), "number": number, "nodes": nodes}
            words = [sys.executable, "-c", ONE_TRY, json.dumps(given | {"arguments": DBT_2.arguments})]
            worker = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said = ""
            try:
                said, _ = worker.communicate(timeout=chance.uniform(0.8, 2.5) if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                worker.send_signal(signal.SIGKILL)
                worker.communicate()
                kills += 1
                tries = tries_in(cache)
                if not tries:  # the task was over, and its journal removed, before the kill: all of it runs again
                    in_flight.update(nodes.keys())
                ended = tries.get(number, {"begun": set(), "done": set()})
                if len(before) < CHAIN:
                    assert not before & ended["begun"], "what was done has run again"
                # The one at work, and the next one: dbt lives for a moment longer than its worker.
                in_flight.update([node for node in nodes if node not in before | ended["done"]][:2])
            if before >= nodes.keys():  # the kill came behind the last node: all of them run again, for the hooks
                in_flight.update(nodes.keys())
            if worker.returncode == 0:
                break
            if worker.returncode < 0:
                continue
            assert "lock" in said, said  # of the database: the dbt of the killed worker had it for a moment longer
        finished += 1
        with duckdb.connect(str(project / "harbor.duckdb")) as connection:
            tables = {node: connection.table(name).project("n").fetchall() for node, name in nodes.items()}
            runs = Counter(name for (name,) in connection.table("runs").fetchall())
        assert tables == {node: [(place,)] for place, node in enumerate(nodes, start=1)}, "the end state is dbt's"
        # A kill may come when the database has a model and dbt has not yet said so.
        assert all(1 <= runs[name] <= 1 + in_flight[node] for node, name in nodes.items()), (runs, in_flight)
    assert finished >= 1


@pytest.mark.long
@pytest.mark.timeout(200)
def test_an_error_elsewhere_in_the_project_takes_nothing_from_what_is_done(
    kept_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbt 2 writes an error for each node into its results where one node of the project cannot be compiled."""
    DBT_2.require()
    project, cache = tmp_path / "harbor", tmp_path / "cache"
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(cache))
    models = project / "models"
    models.mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
    write_profile(project)
    (models / "orders.sql").write_text("select 1 as id")
    nodes = {"model.harbor.orders": "orders", "model.harbor.lines": "lines"}

    def run(number: int, lines: str) -> int:
        (models / "lines.sql").write_text(f"{lines} from {{{{ ref('orders') }}}}")
        given = {"project": str(project), "directory": str(kept_directory), "number": number, "nodes": nodes}
        words = [sys.executable, "-c", ONE_TRY, json.dumps(given | {"arguments": DBT_2.arguments})]
        return subprocess.run(words, check=False, capture_output=True).returncode

    assert run(1, "select nothing_of_that_name") != 0
    (models / "far.sql").write_text("select * from {{ ref('nowhere') }}")
    assert run(2, "select id") != 0
    (models / "far.sql").unlink()
    done = {number: found["done"] for number, found in tries_in(cache).items()}
    assert done == {1: {"model.harbor.orders"}, 2: set()}
    (models / "orders.sql").write_text("select this_would_fail")
    assert run(3, "select id") == 0, "orders is done and does not run again"
