"""The page docs/how-to/dags/kinds-of-nodes.md is as it says: a DAG with a node of each kind, run by a real dbt."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.timetables.interval import CronDataIntervalTimetable

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG, AirflowException
from cosmos_venv.constants import InvocationMode, TestBehavior
from cosmos_venv.operators import local, virtualenv
from pytest_cosmos_venv import CosmosAirflow, DagOutcome
from tests.installed import DBT, ROOT, needs_dbt
from tests.whole.page_blocks import blocks_in

PAGE = (ROOT / "docs" / "how-to" / "dags" / "kinds-of-nodes.md").read_text(encoding="utf-8")
PROJECT = ROOT / "tests" / "data" / "kinds-project"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
RETRY = next(block for block in blocks_in(PAGE, "python") if "DbtRetry" in block)

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), needs_dbt]


@pytest.fixture(autouse=True)
def _dbt_starts_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that run dbt are forked from one, which takes half of their CPU time."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__LOCAL_WARM_DBT", "auto")


class Shop:
    """The project in a folder of its own, with its database, and a DAG of it that has run.

    :param folder: of both.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = Path(shutil.copytree(PROJECT, folder / "shop"))
        self.outcome: DagOutcome | None = None

    @property
    def profile(self) -> ProfileConfig:
        return ProfileConfig("shop", "dev", profiles_yml_filepath=self.project / "profiles.yml")

    @property
    def env(self) -> dict[str, str]:
        return {"SHOP_DATABASE": str(self.folder / "shop.duckdb")}

    def dbt(self, *words: str) -> str:
        """Run dbt itself."""
        place = ["--profiles-dir", ".", "--target-path", str(self.folder / "target"), "--log-path", str(self.folder)]
        command = [str(DBT), "--quiet", *words, *place]
        done = subprocess.run(command, cwd=self.project, capture_output=True, text=True, check=True)
        return done.stdout

    @property
    def manifest(self) -> Path:
        found = self.folder / "target" / "manifest.json"
        if not found.exists():
            self.dbt("parse")
        return found

    def dag(
        self,
        *,
        load_method: LoadMode = LoadMode.DBT_MANIFEST,
        mode: ExecutionMode = ExecutionMode.LOCAL,
        operator_args: dict[str, Any] | None = None,
        schedule: Any = None,
        **render: Any,
    ) -> DbtDag:
        if load_method is LoadMode.DBT_LS_FILE:
            keys = "name unique_id resource_type package_name depends_on original_file_path tags config fqn description"
            listed = self.dbt("ls", "--output", "json", "--output-keys", *keys.split())
            (self.folder / "ls.jsonl").write_text(listed)
            render["dbt_ls_path"] = self.folder / "ls.jsonl"
        manifest = self.manifest if load_method is LoadMode.DBT_MANIFEST else None
        return DbtDag(
            dag_id="shop",
            schedule=schedule,
            start_date=START,
            project_config=ProjectConfig(
                self.project, manifest_path=manifest, env_vars=self.env, install_dbt_deps=False
            ),
            profile_config=self.profile,
            execution_config=ExecutionConfig(
                execution_mode=mode, dbt_executable_path=DBT, invocation_mode=InvocationMode.SUBPROCESS
            ),
            render_config=RenderConfig(load_method=load_method, **render),
            operator_args=operator_args,
        )

    def operator(self, name: str, **given: Any) -> Any:
        arguments = {"env": self.env, "dbt_executable_path": DBT, "invocation_mode": InvocationMode.SUBPROCESS}
        return getattr(local, f"Dbt{name}LocalOperator")(
            task_id=name.lower(),
            project_dir=self.project,
            profile_config=self.profile,
            install_deps=False,
            **{**arguments, **given},
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.env["SHOP_DATABASE"]) as database:
            return database.execute(query).fetchall()

    @property
    def dates(self) -> list[str]:
        return [each for (each,) in self.rows("select distinct made_at::date::text from daily order by 1")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The project whose DAG ``test_the_whole_project_is_built`` has run; the other tests of the table look at it."""
    return Shop(tmp_path_factory.mktemp("kinds"))


@pytest.fixture
def shop(tmp_path: Path, built: Shop) -> Shop:
    """The same project in another folder, with the manifest of the first one: nothing in it is of a folder."""
    (tmp_path / "target").mkdir()
    shutil.copy(built.manifest, tmp_path / "target")
    return Shop(tmp_path)


def ran(shop: Shop, cosmos_airflow: CosmosAirflow) -> DagOutcome:
    if shop.outcome is None:
        # Of the hundreds of batches since then two are enough.
        flags = ["--event-time-start", "2026-01-01", "--event-time-end", "2026-01-03"]
        shop.outcome = cosmos_airflow.run(shop.dag(operator_args={"dbt_cmd_flags": {"run": flags}}))
    return shop.outcome


def order(outcome: DagOutcome) -> list[str]:
    return [*outcome.tasks]


def sql_model(shop: Shop, outcome: DagOutcome) -> None:
    assert order(outcome).index("orders.run") < order(outcome).index("orders.test")
    assert shop.rows("select count(*) from orders") == [(3,)]


def python_model(shop: Shop, _: DagOutcome) -> None:
    assert shop.rows("select sum(amount) from doubled") == [(120,)]


def microbatch_model(shop: Shop, _: DagOutcome) -> None:
    assert shop.dates == ["2026-01-01", "2026-01-02"]


def function(shop: Shop, outcome: DagOutcome) -> None:
    assert order(outcome).index("plus_tax_function") < order(outcome).index("orders.run")
    assert shop.rows("select gross from orders where id = 1") == [(12,)]


def seed_and_snapshot(shop: Shop, outcome: DagOutcome) -> None:
    assert {"raw_orders_seed", "orders_history_snapshot"} <= set(outcome.tasks)
    assert shop.rows("select count(*) from orders_history") == [(3,)]


def data_and_unit_tests(shop: Shop, outcome: DagOutcome) -> None:
    said = outcome.tasks["twice.test"].log
    assert "unique_twice_id" in said
    assert "tax_is_added" in said
    assert "nothing_is_lost" not in "".join(each.log for each in outcome.tasks.values())
    assert "stage_run" in outcome.tasks


def without_task(shop: Shop, outcome: DagOutcome) -> None:
    assert not [each for each in outcome.tasks if re.search("board|look|revenue|spine_test", each)]


def selected_by_a_metric(shop: Shop, outcome: DagOutcome) -> None:
    without_task(shop, outcome)
    found = shop.dag(select=["+metric:revenue"], test_behavior=TestBehavior.NONE).task_ids
    assert sorted(found) == ["orders_run", "plus_tax_function", "raw_orders_seed"]
    assert sorted(shop.dag(load_method=LoadMode.DBT_LS, select=["+metric:revenue"]).task_ids) >= ["orders.run"]
    seen: list[str] = []
    converters = {"metric": lambda *, node, **_: seen.append(node.unique_id)}
    shop.dag(load_method=LoadMode.DBT_LS, node_converters=converters)
    shop.dag(node_converters=converters)
    assert seen == []


def export(shop: Shop, _: DagOutcome) -> None:
    from cosmos_venv.rendering import planner

    planner._log_once.cache_clear()
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    planner.logger.addHandler(handler)
    try:
        shop.dag(load_method=LoadMode.DBT_LS_FILE)  # a manifest is read without saved queries
    finally:
        planner.logger.removeHandler(handler)
    assert "dbt's exports of saved queries are not made: dbt Core has no command for them." in said


def group_and_access(shop: Shop, _: DagOutcome) -> None:
    for item in ("group:finance", "access:protected,orders"):
        assert sorted(shop.dag(select=[item]).task_ids) == ["orders.run", "orders.test"]


def hooks(shop: Shop, outcome: DagOutcome) -> None:
    of_dbt = [each for each in outcome.tasks.values() if "shop.on-run-end.0" in each.log or "on-run-end" in each.log]
    assert len(of_dbt) == len(outcome.tasks)
    (batch,) = shop.dag(batch_by="all").tasks
    assert batch.task_id == "all_batch"


def macro(shop: Shop, _: DagOutcome) -> None:
    shop.operator("RunOperation", macro_name="sign").execute({})
    assert shop.rows("select id from signed") == [(7,)]


def clone_and_compile(shop: Shop, _: DagOutcome) -> None:
    shop.operator("Compile", select="orders").execute({})
    shop.operator("Clone", select="twice", state=str(shop.manifest.parent)).execute({})
    assert {"DbtCloneVirtualenvOperator", "DbtCompileVirtualenvOperator"} <= {*virtualenv.__all__}


ROWS: dict[str, Callable[[Shop, DagOutcome], None]] = {
    "model in SQL": sql_model,
    "model in Python": python_model,
    "microbatch model (dbt 1.9)": microbatch_model,
    "function (dbt 1.11)": function,
    "seed, snapshot": seed_and_snapshot,
    "data test": data_and_unit_tests,
    "unit test (dbt 1.8)": data_and_unit_tests,
    "source": without_task,
    "exposure, analysis": without_task,
    "metric, semantic model, saved query": selected_by_a_metric,
    "export of a saved query": export,
    "group, `access`": group_and_access,
    "`on-run-start`, `on-run-end`": hooks,
    "macro": macro,
    "`dbt clone`, `dbt compile`": clone_and_compile,
}


def table() -> dict[str, str]:
    lines = PAGE.partition("| kind | in a DAG |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    return dict(line.strip("| ").split(" | ", 1) for line in lines)


@pytest.mark.xdist_group("kinds-of-nodes")
@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_what_happens(row: str, built: Shop, cosmos_airflow: CosmosAirflow) -> None:
    outcome = ran(built, cosmos_airflow)

    assert outcome.succeeded
    tasks = re.findall(r"the tasks? `(\w[\w.]*)`(?: and `(\w+)`)?|tests `(\w+\.test)`|: `(\w+\.test)`", table()[row])
    assert {each for found in tasks for each in found if each} <= set(outcome.tasks)
    ROWS[row](built, outcome)


@pytest.mark.xdist_group("kinds-of-nodes")
@pytest.mark.parametrize("method", [LoadMode.DBT_LS, LoadMode.DBT_LS_FILE])
def test_the_tasks_are_the_same_in_each_load_mode(method: LoadMode, built: Shop) -> None:
    def edges(dag: DAG) -> dict[str, set[str]]:
        return {task.task_id: task.upstream_task_ids for task in dag.tasks}

    assert edges(built.dag(load_method=method)) == edges(built.dag())


@pytest.mark.xdist_group("kinds-of-nodes")
def test_unit_tests_can_be_left_out(built: Shop) -> None:
    task: Any = built.dag(exclude=["test_type:unit"]).get_task("twice.test")

    listed = built.dbt("ls", "--select", "twice,test_type:unit", "--resource-type", "unit_test")
    assert "tax_is_added" in listed
    assert task.exclude == "test_type:unit"


@pytest.mark.parametrize("mode", [ExecutionMode.WATCHER, ExecutionMode.LOCAL], ids=["watcher", "batch"])
def test_one_dbt_builds_each_kind_and_runs_hooks_once(
    mode: ExecutionMode, shop: Shop, cosmos_airflow: CosmosAirflow
) -> None:
    flags = ["--event-time-start", "2026-01-01", "--event-time-end", "2026-01-03"]
    render: dict[str, Any] = {"batch_by": "all"} if mode is ExecutionMode.LOCAL else {}

    outcome = cosmos_airflow.run(shop.dag(mode=mode, operator_args={"dbt_cmd_flags": flags}, **render))

    assert outcome.succeeded
    one = "dbt_producer_watcher" if mode is ExecutionMode.WATCHER else "all_batch"
    rows = {row["node"]: row["status"] for row in outcome.tasks[one].xcoms["dbt_nodes"]}
    assert rows["function.shop.plus_tax"] == "success"
    assert rows["unit_test.shop.twice.tax_is_added"] == "pass"
    assert shop.rows("select gross from orders where id = 1") == [(12,)]


@pytest.mark.parametrize("render", [{}, {"batch_by": "all"}], ids=["a-task-a-node", "batch"])
def test_each_run_builds_the_batches_of_its_interval(
    render: dict[str, Any], shop: Shop, cosmos_airflow: CosmosAirflow
) -> None:
    dag = shop.dag(
        operator_args={"event_time": "data_interval"},
        schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
        select=["+daily"],
        test_behavior=TestBehavior.NONE,
        **render,
    )

    first = cosmos_airflow.catch_up(dag, until="2026-01-02")
    after_one = shop.dates
    more = cosmos_airflow.catch_up(dag, since="2026-01-02", until="2026-01-03")

    assert [each.succeeded for each in (*first, *more)] == [True, True]
    assert after_one == ["2026-01-01"]
    assert shop.dates == ["2026-01-01", "2026-01-02"]


def test_dbt_retry_builds_the_batch_that_failed_alone(shop: Shop) -> None:
    names: dict[str, Any] = {"SHARED": str(shop.folder), "shutil": shutil}
    for name in ("Build", "Retry"):
        names[f"Dbt{name}LocalOperator"] = getattr(local, f"Dbt{name}LocalOperator")
    names["arguments"] = {
        "project_dir": shop.project,
        "profile_config": shop.profile,
        "dbt_executable_path": DBT,
        "invocation_mode": InvocationMode.SUBPROCESS,
        "install_deps": False,
        "env": {**shop.env, "BROKEN_ID": "2"},
        "should_store_compiled_sql": False,
    }
    with DAG("shop", schedule=None, start_date=START):
        exec(RETRY, names)  # noqa: S102 - as a user copies it
    build, again = names["build"], names["again"]
    flags = ["--event-time-start", "2026-01-01", "--event-time-end", "2026-01-04"]
    build.dbt_cmd_flags, build.select = flags, "raw_orders stage daily"
    # what Airflow renders
    again.state = str(shop.folder / "night")

    with pytest.raises(AirflowException, match=r"daily: partial success: 1 of 3 batches failed\n  batch 2026-01-02"):
        build.execute({"run_id": "night"})
    again.env = shop.env
    kept: list[Any] = []
    again.callback = lambda folder, **_: kept.append(json.loads(Path(folder, "target/run_results.json").read_text()))
    again.execute({"run_id": "night"})

    ((result,),) = ([each for each in kept[0]["results"] if "operation" not in each["unique_id"]],)
    assert result["unique_id"] == "model.shop.daily"
    assert len(result["batch_results"]["successful"]) == 3
    assert shop.dates == ["2026-01-01", "2026-01-02", "2026-01-03"]
