"""Plans of ExecutionMode.WATCHER that no recorded configuration has, and DAGs that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag, DbtTaskGroup, compat
from cosmos_venv.compat import DAG, EmptyOperator
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import (
    DbtResourceType,
    ExecutionMode,
    LoadMode,
    SeedRenderingBehavior,
    SourceRenderingBehavior,
)
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.watcher import DbtRunWatcherOperator
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.model import Plan
from cosmos_venv.rendering.modes import watcher
from cosmos_venv.rendering.one_task.plan_cache import plan_key
from cosmos_venv.rendering.task_arguments import PlanningSettings
from tests.rendering import made as of_nodes
from tests.rendering.made import node
from tests.rendering.recorded import PROJECT

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
OTHER_PROFILE = {"cosmos": {"profile_config": {"target_name": "prod"}}}
RAW = node("seed.shop.raw")
ORDERS = node("model.shop.orders", RAW.unique_id)
APART = node("model.shop.apart", ORDERS.unique_id, meta=OTHER_PROFILE)
OF_BOTH = node("test.shop.same_orders_apart.1", ORDERS.unique_id, APART.unique_id)
OF_ORDERS = node("test.shop.unique_orders.1", ORDERS.unique_id)


def planned(*nodes: DbtNode, most: int = 0, asks_freshness: bool = False, **render: Any) -> Plan:
    settings = PlanningSettings(most_watching=most, asks_freshness=asks_freshness)
    return of_nodes.planned(*nodes, render=RenderConfig(**render), mode=ExecutionMode.WATCHER, settings=settings)


def operators(made: Plan) -> dict[str, str]:
    return {task.task_id: task.operator.rpartition(".")[2] for task in made.tasks}


def told(made: Plan) -> set[str]:
    (producer,) = (task for task in made.tasks if task.task_id == "dbt_producer_watcher")
    return {*producer.arguments["nodes"]}


OTHER_DBT = node(
    "model.shop.apart",
    ORDERS.unique_id,
    meta={"cosmos": {"operator_kwargs": {"py_requirements": ["dbt-core==1.10.0", "dbt-duckdb"]}}},
)


@pytest.mark.parametrize("apart", [APART, OTHER_DBT], ids=["profile", "environment"])
def test_a_node_with_a_dbt_of_its_own_and_its_tests_run_behind_the_producer(apart: DbtNode) -> None:
    made = planned(RAW, ORDERS, apart, OF_BOTH, OF_ORDERS)

    found = operators(made)
    assert told(made) == {RAW.unique_id, ORDERS.unique_id, OF_ORDERS.unique_id}
    assert found["orders.run"] == "DbtRunWatcherOperator"
    assert found["orders.test"] == "DbtTestWatcherOperator"
    assert found["apart.run"] == "DbtRunLocalOperator"
    assert found["apart.test"] == "DbtTestLocalOperator"


def test_a_test_that_waits_for_a_node_with_a_profile_of_its_own_runs_once() -> None:
    found = operators(planned(RAW, ORDERS, APART, OF_BOTH))

    assert found["orders.test"] == "empty"
    assert found["apart.test"] == "DbtTestLocalOperator"


def test_a_node_that_others_read_cannot_have_a_profile_of_its_own() -> None:
    with pytest.raises(
        CosmosValueError, match=r"model\.shop\.apart: a profile_config or .* such as model\.shop\.report"
    ):
        planned(RAW, ORDERS, APART, node("model.shop.report", APART.unique_id))


@pytest.mark.parametrize("behavior", [SeedRenderingBehavior.NONE, SeedRenderingBehavior.RENDER_ONLY])
def test_a_seed_that_is_not_shown_cannot_have_a_profile_of_its_own(behavior: SeedRenderingBehavior) -> None:
    with pytest.raises(CosmosValueError, match=r"seed\.shop\.own: .*nobody would build it"):
        planned(RAW, ORDERS, node("seed.shop.own", meta=OTHER_PROFILE), seed_rendering_behavior=behavior)


def test_tests_of_an_ephemeral_model_are_watched() -> None:
    ephemeral = node("model.shop.part", ORDERS.unique_id, materialized="ephemeral")
    test = node("test.shop.unique_part.1", ephemeral.unique_id)

    made = planned(RAW, ORDERS, ephemeral, test)

    assert operators(made)["part.test"] == "DbtTestWatcherOperator"
    assert told(made) == {RAW.unique_id, ORDERS.unique_id, test.unique_id}


def test_a_source_is_waited_for_before_the_producer() -> None:
    source = node("source.shop.raw.ships", has_freshness=True)
    made = planned(
        source,
        node("model.shop.ships", source.unique_id),
        source_rendering_behavior=SourceRenderingBehavior.ALL,
        wait_for_sources=True,
    )

    assert operators(made)["raw_ships_source"] == "DbtSourceFreshnessLocalSensor"
    assert {("raw_ships_source", "dbt_producer_watcher"), ("dbt_producer_watcher", "ships_run")} <= {*made.edges}
    assert told(made) == {"model.shop.ships"}


LINES = node("model.shop.lines", ORDERS.unique_id)
OF_LINES = node("test.shop.unique_lines.1", LINES.unique_id)


def by_name(nodes: Mapping[str, DbtNode]) -> dict[str, str]:
    """Seeds and orders together; all others have a task of their own."""
    return {each: "first" for each in nodes if each in (RAW.unique_id, ORDERS.unique_id)}


def test_one_task_watches_the_nodes_of_a_batch() -> None:
    made = planned(RAW, ORDERS, LINES, OF_ORDERS, OF_LINES, batch_by=by_name)

    (joined,) = (task for task in made.tasks if task.task_id == "first_batch")
    assert operators(made) == {
        "dbt_producer_watcher": "DbtProducerWatcherOperator",
        "dbt_producer_watcher_done": "empty",
        "first_batch": "DbtBatchWatcherOperator",
        "lines.run": "DbtRunWatcherOperator",
        "lines.test": "DbtTestWatcherOperator",
    }
    assert joined.arguments["node_ids"] == sorted([RAW.unique_id, ORDERS.unique_id, OF_ORDERS.unique_id])
    assert joined.arguments["nodes"].keys() == {*joined.arguments["node_ids"]}
    assert told(made) == {each.unique_id for each in (RAW, ORDERS, LINES, OF_ORDERS, OF_LINES)}
    assert ("first_batch", "lines.run") in made.edges


def test_a_test_that_reads_a_node_with_a_dbt_of_its_own_is_in_no_batch() -> None:
    made = planned(RAW, ORDERS, APART, OF_BOTH, batch_by="all")

    assert operators(made)["all_batch"] == "DbtBatchWatcherOperator"
    assert operators(made)["apart.test"] == "DbtTestLocalOperator"
    assert told(made) == {RAW.unique_id, ORDERS.unique_id}


@pytest.mark.parametrize(("most", "joins"), [(0, False), (4, False), (3, True)])
def test_more_tasks_than_the_setting_names_are_joined_by_folder(most: int, joins: bool) -> None:
    made = planned(RAW, ORDERS, LINES, OF_ORDERS, most=most)

    watching = {task.task_id for task in made.tasks if "node_ids" in task.arguments}
    assert (len(watching) == 4) is not joins
    assert any(each.endswith("_batch") for each in watching) is joins


def test_a_producer_with_a_callback_looks_at_the_sources_itself() -> None:
    ships = node("source.shop.raw.ships", has_freshness=True)
    crews = node("source.shop.raw.crews", has_freshness=True, meta=OTHER_PROFILE)
    made = planned(
        *(ships, crews, node("source.shop.raw.old")),
        node("model.shop.fleet", ships.unique_id, crews.unique_id),
        source_rendering_behavior=SourceRenderingBehavior.ALL,
        asks_freshness=True,
    )

    assert operators(made)["raw_ships_source"] == "DbtSourceWatcherOperator"
    assert operators(made)["raw_crews_source"] == "DbtSourceLocalOperator"
    assert {
        ("raw_crews_source", "dbt_producer_watcher"),
        ("dbt_producer_watcher", "raw_ships_source"),
        ("raw_ships_source", "fleet_run"),
        ("raw_ships_source", "dbt_producer_watcher_done"),
    } <= {*made.edges}
    assert ("raw_ships_source", "dbt_producer_watcher") not in made.edges
    (producer,) = (task for task in made.tasks if task.task_id == "dbt_producer_watcher")
    assert producer.arguments["sources"] == {ships.unique_id: "source:raw.ships"}


def test_a_project_without_nodes_has_no_producer() -> None:
    assert operators(planned(node("exposure.shop.page"), allow_empty_selection=True)) == {}


def arguments(*select: str, **setup: Any) -> dict[str, Any]:
    return {
        "project_config": ProjectConfig(PROJECT, manifest_path=PROJECT / "manifest.json"),
        "profile_config": ProfileConfig("harbor", "dev", profiles_yml_filepath=Path(__file__)),
        "render_config": RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=[*select], exclude=["fleet_summary"]),
        "execution_config": ExecutionConfig(ExecutionMode.WATCHER, setup_operator_args=setup),
    }


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ({"task_id": "mine"}, r"setup_operator_args\['task_id'\] is decided"),
        ({"compiled_sql": "x"}, r"setup_operator_args\['compiled_sql'\] is written by the task"),
        ({"select": "orders"}, r"setup_operator_args\['select'\]='orders': .* Choose them with RenderConfig\.select"),
        ({"selector": "nightly"}, r"setup_operator_args\['selector'\]='nightly': .* exclude or selector"),
        ({"indirect_selection": "buildable"}, r"\['indirect_selection'\]='buildable': the producer names each test"),
        (
            {"virtualenv_dir": "/envs"},
            r"\['virtualenv_dir'\]: the producer runs an installed dbt\. Give py_requirements",
        ),
        (
            {"py_requirements": ["dbt-core"], "dbt_executable_path": "/dbt"},
            r"\['dbt_executable_path'\]: the producer runs the dbt of its environment",
        ),
        ({"nodes": {}}, r"setup_operator_args\['nodes'\]"),
        ({"profile_config": "secret"}, r"\['profile_config'\]: .* Give profile_config to the DAG"),
        ({"dbt_cmd_flags": ["--exclude", "orders"]}, r"--exclude in ExecutionConfig\.setup_operator_args"),
        ({"retires": 1}, r"ExecutionConfig\.setup_operator_args: .*'retires'. Did you mean 'retries'"),
    ],
)
def test_arguments_that_are_not_the_producers_own_are_refused(setup: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        DbtDag(dag_id="harbor", schedule=None, start_date=START, **arguments(**setup))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"callback": 7}, "freshness_callback=7 is neither a callable nor the import path of one"),
        ({"operator_args": {"freshness_callback": print}}, r"operator_args\['freshness_callback'\] .* Give it as Exec"),
        ({"operator_args": {"emit_source_assets": True}}, r"\['emit_source_assets'\]=True and .*itself looks"),
        ({"wait_for_sources": True}, r"RenderConfig\.wait_for_sources=True and .*itself looks .* Drop one"),
    ],
)
def test_what_does_not_go_with_a_callback_is_refused(given: dict[str, Any], words: str) -> None:
    render = RenderConfig(
        load_method=LoadMode.DBT_MANIFEST,
        source_rendering_behavior=SourceRenderingBehavior.ALL,
        wait_for_sources=given.pop("wait_for_sources", False),
    )
    with pytest.raises(CosmosValueError, match=words):
        DbtDag(
            dag_id="harbor",
            schedule=None,
            start_date=START,
            **{**arguments(freshness_callback=given.pop("callback", print)), "render_config": render, **given},
        )


def test_the_producer_may_run_another_dbt_than_later_tries_of_the_nodes() -> None:
    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **arguments(dbt_executable_path="/opt/dbt"))

    producer: Any = dag.get_task("dbt_producer_watcher")
    watching: Any = dag.get_task("geo_rollup_run")
    assert (producer.dbt_executable_path, watching.dbt_executable_path) == ("/opt/dbt", "dbt")


@pytest.mark.filterwarnings("error:dbt_executable_path")
def test_the_producer_alone_may_have_a_managed_environment() -> None:
    given = arguments(py_requirements=["dbt-core"], virtualenv_dir="/envs")
    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **given)

    producer: Any = dag.get_task("dbt_producer_watcher")
    watching = dag.get_task("geo_rollup_run")
    assert type(producer).__name__ == "DbtProducerWatcherVirtualenvOperator"
    assert (producer.py_requirements, producer.virtualenv_dir) == (["dbt-core"], "/envs")
    assert type(watching).__name__ == "DbtRunWatcherOperator"
    configured, plain = (Configuration.of(**each, operator_args=None) for each in (given, arguments()))
    assert plan_key(configured, "1") != plan_key(plain, "1")


def converted(kind: DbtResourceType) -> DbtDag:
    """The DAG in which a converter makes a placeholder of each node of one type."""
    given = arguments()

    def converter(*, dag: DAG, task_group: Any, node: DbtNode, task_args: dict[str, Any], **_: Any) -> EmptyOperator:
        assert "setup_operator_args" not in task_args
        return EmptyOperator(task_id=f"own_{node.name.replace('.', '_')}", dag=dag, task_group=task_group)

    given["render_config"] = RenderConfig(
        load_method=LoadMode.DBT_MANIFEST,
        source_rendering_behavior=SourceRenderingBehavior.ALL,
        node_converters={kind: converter},
    )
    given["execution_config"] = ExecutionConfig(ExecutionMode.WATCHER, setup_operator_args={"retries": 3})
    return DbtDag(dag_id="harbor", schedule=None, start_date=START, **given)


def test_the_task_that_a_converter_makes_of_a_source_comes_before_the_producer() -> None:
    dag = converted(DbtResourceType.SOURCE)

    own = {task_id for task_id in dag.task_ids if task_id.startswith("own_")}
    assert own
    assert own <= dag.get_task("dbt_producer_watcher").upstream_task_ids


def test_a_converter_makes_a_task_of_an_exposure_behind_the_nodes_that_it_reads() -> None:
    dag = converted(DbtResourceType.EXPOSURE)

    (own,) = (task for task in dag.tasks if task.task_id.startswith("own_"))
    assert own.upstream_task_ids
    assert own.downstream_task_ids == {"dbt_producer_watcher_done"}


@pytest.mark.parametrize("kind", [DbtResourceType.MODEL, DbtResourceType.TEST])
def test_a_converter_of_what_the_producer_runs_is_refused(kind: DbtResourceType) -> None:
    with pytest.raises(CosmosValueError, match=r"RenderConfig\.node_converters of models, .* Use ExecutionMode\.LOCAL"):
        converted(kind)


def test_tasks_of_a_group_watch_its_own_producer() -> None:
    with DAG("harbor", schedule=None, start_date=START) as dag:
        for group_id in ("one", "two"):
            DbtTaskGroup(group_id=group_id, **arguments())

    for group_id in ("one", "two"):
        task: Any = dag.get_task(f"{group_id}.geo_rollup_run")
        assert task.producer_task_id == f"{group_id}.dbt_producer_watcher"
        assert task.start_trigger_args.trigger_kwargs["producer_task_id"] == task.producer_task_id


def test_a_mapped_task_begins_on_a_worker() -> None:
    """Airflow looks at the class for how a mapped task begins."""
    assert (DbtRunWatcherOperator.start_from_trigger, DbtRunWatcherOperator.start_trigger_args) == (False, None)


@pytest.mark.parametrize("given", [{}, {"wait_for_downstream": False}], ids=["default", "given"])
def test_a_producer_that_depends_on_the_run_before_waits_for_all_of_it(given: dict[str, bool]) -> None:
    dag = DbtDag(
        dag_id="ops",
        schedule=None,
        start_date=START,
        default_args={"depends_on_past": True, **given},
        **arguments("stg_pings"),
    )

    producer = dag.get_task("dbt_producer_watcher")
    assert producer.depends_on_past
    assert producer.wait_for_downstream is not bool(given)
    assert "dbt_producer_watcher_done" in producer.downstream_task_ids


def test_the_alias_of_the_producers_assets_is_known_when_the_dag_is_parsed() -> None:
    """Airflow 3 makes an alias that it does not know when the task ends, and fails one of two that do so at once."""
    dag = DbtDag(dag_id="ops", schedule=None, start_date=START, **arguments("stg_pings"))

    assert [each.name for each in dag.get_task("dbt_producer_watcher").outlets] == ["ops__dbt_producer_watcher"]


@pytest.mark.parametrize(("number", "is_large"), [(200, False), (201, True)])
def test_tasks_of_a_large_dag_start_on_a_worker(number: int, is_large: bool) -> None:
    """Airflow sends the whole DAG to the triggerer for each task that starts there: 1,000 tasks took 7 GB."""
    models = [node(f"model.shop.m{each}") for each in range(number)]
    tests = [node(f"test.shop.unique_m{each}.1", models[each].unique_id) for each in range(number)]

    made = planned(*models, *tests)

    watching = [task for task in made.tasks if "node_ids" in task.arguments]
    assert len(watching) == 2 * number
    assert {task.defaults.get("starts_on_worker", False) for task in watching} == {is_large}


def test_the_users_word_wins_over_the_size_of_the_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_MOST_IN_TRIGGERER", 1)

    def task_of(**further: Any) -> Any:
        dag = DbtDag(dag_id="ops", schedule=None, start_date=START, **{**arguments(), **further})
        return dag.get_task("geo_rollup_run")

    assert task_of().starts_on_worker
    assert not task_of(operator_args={"starts_on_worker": False}).starts_on_worker


@pytest.mark.skipif(not compat.TASKS_START_AS_TRIGGERS, reason="no task of this Airflow starts in the triggerer")
@pytest.mark.parametrize("on_worker", [False, True])
def test_a_user_says_where_tasks_start(on_worker: bool) -> None:
    given: dict[str, Any] = {**arguments(), "operator_args": {"starts_on_worker": on_worker}}
    dag = DbtDag(dag_id="ops", schedule=None, start_date=START, **given)

    task: Any = dag.get_task("geo_rollup_run")
    assert (task.start_from_trigger, task.start_trigger_args is None) == (not on_worker, on_worker)
