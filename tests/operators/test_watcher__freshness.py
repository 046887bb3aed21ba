"""DAGs of ExecutionMode.WATCHER with a ``freshness_callback``, on the fake dbt: what each task becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag
from cosmos_venv.constants import ExecutionMode, SourceRenderingBehavior
from pytest_cosmos_venv import CosmosAirflow, CosmosProject, DbtProject, FakeVenv
from tests.fake_dags import fake_dag, states

PRODUCER, DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"
SHIPS, CREWS = "source.harbor.raw.ships", "source.harbor.raw.crews"
SHIPS_NOW, CREWS_NOW, REPORT = (f"model.harbor.{name}" for name in ("ships_now", "crews_now", "report"))
GREEN = dict.fromkeys(
    (PRODUCER, DONE, "raw_ships_source", "raw_crews_source", "ships_now.run", "ships_now.test", "crews_now", "report"),
    "success",
)

Answer = list[tuple[str, str]] | None


@pytest.fixture
def dbt(cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """The fake dbt 1, to which all sources are fresh."""
    venv = cosmos_fake_venv(dbt_version="1.11.0")
    venv.script("source freshness", nodes={SHIPS: "pass", CREWS: "pass"})
    return venv


@pytest.fixture
def project(cosmos_project: CosmosProject, own_cache: Path, cosmos_airflow: CosmosAirflow) -> DbtProject:
    """Two sources, a model of each, a test of one of them, and a report that reads that one."""
    assert not cosmos_airflow.variables.values
    project = cosmos_project("harbor")
    stale = {"error_after": {"count": 2, "period": "day"}}
    project.source("raw", tables=["ships", "crews"], freshness=stale, loaded_at_field="at")
    project.model("ships_now", "select * from {{ source('raw', 'ships') }}", tests={"id": ["unique"]})
    project.model("crews_now", "select * from {{ source('raw', 'crews') }}")
    project.model("report", "select * from {{ ref('ships_now') }}")
    return project


def made(
    dbt: FakeVenv, project: DbtProject, callback: object, producer: Mapping[str, Any] | None = None, **given: Any
) -> DbtDag:
    """The DAG of the project, whose producer asks the callback."""
    shown = {"source_rendering_behavior": SourceRenderingBehavior.ALL, "manifest": project.manifest(), **given}
    setup = {"freshness_callback": callback, **(producer or {})}
    return fake_dag(dbt, project.path, mode=ExecutionMode.WATCHER, setup=setup, **shown)


def answering(*answers: Answer) -> Callable[..., Answer]:
    """A callback that gives one answer after the other."""
    left = iter(answers)
    return lambda *_: next(left)


def commands(dbt: FakeVenv) -> list[tuple[str, set[str]]]:
    names = {"ships_now", "crews_now", "report", "unique_ships_now_id"}
    calls = [call for call in dbt.calls if call.command != "ls"]
    return [
        (str(call.command), {word.partition(",")[0].rpartition(".")[2] for word in call.arguments} & names)
        for call in calls
    ]


def test_a_node_that_the_callback_leaves_out_is_not_built_and_its_task_is_skipped(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    seen: list[Any] = []

    def leave_ships_out(context: Any, dag: Any, task_group: Any, nodes: Any, sources_json: Any) -> Answer:
        seen.extend([context["ti"].task_id, dag.dag_id, task_group.group_id, nodes, sources_json["results"]])
        return [(SHIPS_NOW, "skipped")]

    outcome = cosmos_airflow.run(made(dbt, project, leave_ships_out))

    assert states(outcome) == {**GREEN, "ships_now.run": "skipped", "ships_now.test": "skipped"}
    assert commands(dbt) == [("source freshness", set()), ("build", {"crews_now", "report"})]
    assert "freshness_callback has left it out" in outcome.tasks["ships_now.run"].log
    task_id, dag_id, group_id, nodes, results = seen
    assert (task_id, dag_id, group_id) == (PRODUCER, "harbor", None)
    assert nodes[REPORT].depends_on == [SHIPS_NOW]
    assert {each["unique_id"]: each["status"] for each in results} == {SHIPS: "pass", CREWS: "pass"}


def test_a_stale_source_fails_its_task_alone_where_the_callback_leaves_nothing_out(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("source freshness", nodes={SHIPS: "error", CREWS: "pass"})

    outcome = cosmos_airflow.run(made(dbt, project, answering(None)), raise_on_failure=False)

    assert not outcome.succeeded
    assert states(outcome) == {**GREEN, "raw_ships_source": "failed", DONE: "upstream_failed"}
    assert f"{SHIPS}: error, age" in outcome.tasks["raw_ships_source"].log


@pytest.mark.long
def test_a_later_try_of_a_source_looks_at_it_alone(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("source freshness", nth=1, nodes={SHIPS: "error", CREWS: "pass"})

    outcome = cosmos_airflow.run(made(dbt, project, answering(None), retries=1))

    assert states(outcome) == GREEN
    assert [command for command, _ in commands(dbt)] == ["source freshness", "build", "source freshness"]


def test_a_run_of_which_everything_is_left_out_builds_nothing_and_succeeds(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("source freshness", nodes={SHIPS: "error", CREWS: "error"})
    everything: Answer = [(each, "skipped") for each in (SHIPS, CREWS, SHIPS_NOW, CREWS_NOW, REPORT)]

    outcome = cosmos_airflow.run(made(dbt, project, answering(everything)))

    assert states(outcome) == {**dict.fromkeys(GREEN, "skipped"), PRODUCER: "success", DONE: "success"}
    assert commands(dbt) == [("source freshness", set())]


def test_a_node_that_the_callback_calls_failed_fails_its_task_and_the_producer(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    outcome = cosmos_airflow.run(made(dbt, project, answering([(CREWS_NOW, "Failed")])), raise_on_failure=False)

    assert states(outcome) == {**GREEN, PRODUCER: "failed", DONE: "upstream_failed", "crews_now": "failed"}
    assert "crews_now failed, 3 of 4 nodes done" in outcome.tasks[PRODUCER].log
    assert "freshness_callback says 'failed'" in outcome.tasks["crews_now_run"].log


def test_a_later_try_builds_no_node_that_the_callback_calls_failed(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    """A task with more retries than the producer ran dbt for its node alone."""
    dag = made(dbt, project, answering([(CREWS_NOW, "failed")]), retries=1, producer={"retries": 0})

    outcome = cosmos_airflow.run(dag, raise_on_failure=False)

    assert (outcome.tasks["crews_now_run"].state, outcome.tasks["crews_now_run"].tries) == ("failed", 2)
    assert [command for command, _ in commands(dbt)] == ["source freshness", "build"]
    assert "clear the producer" in outcome.tasks["crews_now_run"].log


@pytest.mark.long
@pytest.mark.parametrize(
    ("second", "state", "built"),
    [
        pytest.param([(SHIPS_NOW, "skipped")], "skipped", {"crews_now"}, id="left-out-again"),
        pytest.param(None, "success", {"crews_now", "ships_now", "unique_ships_now_id"}, id="built-then"),
    ],
)
def test_the_producers_next_try_asks_again_and_builds_what_is_not_done(
    second: Answer, state: str, built: set[str], dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("source freshness", nth=1, nodes={SHIPS: "error", CREWS: "pass"})
    dbt.script("build", nth=1, nodes={"crews_now": "error"})
    first: Answer = [(SHIPS_NOW, "skipped")]

    outcome = cosmos_airflow.run(made(dbt, project, answering(first, second), retries=1), raise_on_failure=False)

    assert states(outcome) == {**GREEN, "ships_now.run": state, "ships_now.test": state}
    assert commands(dbt) == [
        ("source freshness", set()),
        ("build", {"crews_now", "report"}),
        ("source freshness", set()),
        ("build", built),
    ]
    assert outcome.succeeded


@pytest.mark.long
def test_a_try_for_which_nothing_is_left_builds_the_rest_again_for_what_follows_dbt(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    """Assets and callbacks of the nodes that the try before has built are owed still."""
    dbt.script("build", nth=1, nodes={"crews_now": "error"})
    callback = answering([(SHIPS_NOW, "skipped")], [(SHIPS_NOW, "skipped"), (CREWS_NOW, "skipped")])

    outcome = cosmos_airflow.run(made(dbt, project, callback, retries=1), raise_on_failure=False)

    assert commands(dbt)[1::2] == [("build", {"crews_now", "report"}), ("build", {"report"})]
    assert states(outcome)["report"] == "success"


@pytest.mark.parametrize(
    ("answer", "words"),
    [([SHIPS_NOW], f"has given '{SHIPS_NOW}'. Return a list of pairs"), (7, "has given 7. Return a list of pairs")],
    ids=["no-pair", "no-list"],
)
def test_an_answer_of_another_shape_fails_the_producer(
    answer: Any, words: str, dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    outcome = cosmos_airflow.run(made(dbt, project, answering(answer)), raise_on_failure=False)

    assert states(outcome)[PRODUCER] == "failed"
    assert words in outcome.tasks[PRODUCER].log
    assert commands(dbt) == [("source freshness", set())]


def test_the_callback_is_not_asked_where_dbt_cannot_look_at_the_sources(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("source freshness", exit_code=2, stdout=["Compilation Error in the project"])

    outcome = cosmos_airflow.run(made(dbt, project, answering()), raise_on_failure=False)

    assert {*states(outcome).values()} == {"failed", "upstream_failed"}
    assert "Compilation Error in the project" in outcome.tasks[PRODUCER].log


def test_a_dbt_that_cannot_look_at_sources_fails_the_producer_by_the_name_of_the_command(
    project: DbtProject, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    dbt_2 = cosmos_fake_venv(dbt_version="2.0.0a4")

    outcome = cosmos_airflow.run(made(dbt_2, project, answering()), raise_on_failure=False)

    assert "This dbt does not have the command source freshness" in outcome.tasks[PRODUCER].log
    assert "build" not in {call.command for call in dbt_2.calls}


def test_the_callback_is_asked_without_dbt_where_no_source_has_an_age(
    dbt: FakeVenv, cosmos_project: CosmosProject, cosmos_airflow: CosmosAirflow
) -> None:
    project = cosmos_project("harbor")
    project.source("raw", tables=["ships"])
    project.model("ships_now", "select * from {{ source('raw', 'ships') }}")
    seen: list[Any] = []

    outcome = cosmos_airflow.run(made(dbt, project, lambda *given: seen.append(given[-1])))

    assert outcome.succeeded
    assert seen == [{"results": []}]
    assert commands(dbt) == [("build", {"ships_now"})]


def test_the_callback_does_not_count_where_the_dag_shows_no_sources(
    dbt: FakeVenv, project: DbtProject, cosmos_airflow: CosmosAirflow, caplog: pytest.LogCaptureFixture
) -> None:
    dag = made(dbt, project, answering(), source_rendering_behavior=SourceRenderingBehavior.NONE)

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded
    assert commands(dbt) == [("build", {"ships_now", "unique_ships_now_id", "crews_now", "report"})]
    assert "['freshness_callback'] is not called with RenderConfig.source_rendering_behavior NONE" in caplog.text
