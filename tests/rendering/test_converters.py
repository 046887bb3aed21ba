"""Node converters: their calls, their answers, and the edges of the tasks that they make."""

from __future__ import annotations

from typing import Any

import pytest

from cosmos_venv import (
    DbtDag,
    ExecutionConfig,
    ExecutionMode,
    SourceRenderingBehavior,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.compat import DAG, BaseOperator, EmptyOperator, TaskGroup
from cosmos_venv.exceptions import CosmosValueError
from tests.rendering.recorded_project import RECORDED, START, edges_of, manifest_arguments

PORT_CALLS = "model.harbor_ops.port_calls"


class Recorder:
    """A converter that has no ``__name__``: it makes a placeholder under the id that it is told, after a prefix."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, **given: Any) -> BaseOperator | TaskGroup | None:
        self.asked.append(given)
        return EmptyOperator(task_id=f"own_{given['task_id']}", dag=given["dag"], task_group=given["task_group"])


class Grouping(Recorder):
    """One that makes a group of two tasks in a row."""

    def __call__(self, **given: Any) -> TaskGroup:
        self.asked.append(given)
        group = TaskGroup(group_id=f"own_{given['node'].name}", dag=given["dag"], parent_group=given["task_group"])
        first, second = (EmptyOperator(task_id=name, dag=given["dag"], task_group=group) for name in ("one", "two"))
        first >> second
        return group


class Refusing(Recorder):
    """One that makes nothing."""

    def __call__(self, **given: Any) -> None:
        self.asked.append(given)


def arguments(
    converters: dict[Any, Any],
    *,
    render: dict[str, Any] | None = None,
    operator_args: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    return manifest_arguments(
        RECORDED,
        render={"node_converters": converters, **(render or {})},
        execution_config=ExecutionConfig(test_indirect_selection=TestIndirectSelection.CAUTIOUS),
        operator_args=operator_args or {},
        **more,
    )


def dag_of(converters: dict[Any, Any], **more: Any) -> DbtDag:
    return DbtDag(dag_id="harbor", schedule=None, start_date=START, **arguments(converters, **more))


def edges_at(dag: DAG, *ids: str) -> set[tuple[str, str]]:
    return {edge for edge in edges_of(dag) if set(ids) & set(edge)}


def shout(node: Any) -> str:
    return str(node.name.upper())


def note(context: Any) -> None:
    pass


def test_a_converter_is_told_all_that_there_is_to_know_by_cosmoss_names() -> None:
    converter = Recorder()
    render = {"normalize_task_id": shout, "should_detach_multiple_parents_tests": True, "source_pruning": True}

    dag = dag_of({"exposure": converter}, render=render, on_warning_callback=note, operator_args={"retries": 3})

    (given,) = converter.asked
    assert given["node"] is dag.dbt_graph.filtered_nodes["exposure.harbor_ops.ops_dashboard"]
    assert (given.pop("dag"), given.pop("task_group"), given.pop("node").name) == (dag, None, "ops_dashboard")
    assert given.pop("task_args")["retries"] == 3
    detached = given.pop("detached_from_parent")
    assert [test.resource_name for test in detached[PORT_CALLS]] == [
        "assert_calls_have_known_port",
        "relationships_port_calls_port_id__port_id__ref_stg_ports_.78abe941cb",
    ]
    assert given == {
        "dbt_project_name": "rendering-project",
        "execution_mode": ExecutionMode.LOCAL,
        "test_behavior": TestBehavior.AFTER_EACH,
        "source_pruning": True,
        "source_rendering_behavior": SourceRenderingBehavior.NONE,
        "normalize_task_id": shout,
        "normalize_task_display_name": None,
        "enable_owner_inheritance": True,
        "test_indirect_selection": TestIndirectSelection.CAUTIOUS,
        "on_warning_callback": note,
        "task_id": "ops_dashboard_exposure",
    }


def test_what_a_converter_changes_of_its_arguments_reaches_no_other() -> None:
    converter = Recorder()
    dag = dag_of({"source": converter}, operator_args={"retries": 3})
    converter.asked[0]["task_args"].clear()

    assert dag.get_task("stg_pings_run").retries == 3
    assert len(converter.asked) == 4
    assert converter.asked[1]["task_args"]["retries"] == 3


def test_a_converted_node_comes_after_its_parents_and_before_its_children() -> None:
    dag = dag_of({"model": Recorder()}, render={"test_behavior": TestBehavior.NONE, "select": ["stg_ports+1"]})

    assert edges_at(dag, "own_geo_cells_run") == {
        ("own_stg_ports_run", "own_geo_cells_run"),
        ("own_geo_cells_run", "own_port_calls_run"),
    }
    assert dag.tasks_map[PORT_CALLS] is dag.get_task("own_port_calls_run")


def test_a_converted_group_takes_edges_by_its_first_and_last_tasks() -> None:
    dag = dag_of({"snapshot": Grouping(), "exposure": Grouping()})

    assert edges_at(dag, "own_snap_vessels.one") == {
        ("stg_vessels_run", "own_snap_vessels.one"),
        ("own_snap_vessels.one", "own_snap_vessels.two"),
    }
    assert dag.get_task("own_ops_dashboard.one").upstream_task_ids == {"fleet_summary.test", "port_calls.test"}
    assert dag.tasks_map["snapshot.harbor_ops.snap_vessels"] is dag.task_group.children["own_snap_vessels"]


def test_a_converter_of_a_node_with_tests_replaces_its_whole_group() -> None:
    converter = Grouping()

    dag = dag_of({"seed": converter})

    assert [given["task_id"] for given in converter.asked] == ["seed", "raw_vessels_seed"]
    assert not {"raw_ports.seed", "raw_ports.test"} & set(dag.task_ids)
    assert edges_at(dag, "own_raw_ports.two") == {
        ("own_raw_ports.one", "own_raw_ports.two"),
        ("own_raw_ports.two", "stg_ports.run"),
    }


def test_a_converter_may_make_the_first_task_of_the_group_only() -> None:
    dag = dag_of({"seed": Recorder()}, render={"node_conversion_by_task_group": False})

    assert edges_at(dag, "raw_ports.own_seed") == {("raw_ports.own_seed", "raw_ports.test")}
    assert edges_at(dag, "raw_ports.test") == {
        ("raw_ports.own_seed", "raw_ports.test"),
        ("raw_ports.test", "stg_ports.run"),
    }


@pytest.mark.parametrize(
    ("kind", "left", "edges"),
    [
        pytest.param("seed", "raw_ports.test", {("raw_ports.test", "stg_ports.run")}, id="first"),
        pytest.param("test", "raw_ports.seed", {("raw_ports.seed", "stg_ports.run")}, id="tests"),
    ],
)
def test_where_a_converter_makes_nothing_the_rest_of_the_group_takes_the_edges(
    kind: str, left: str, edges: set[tuple[str, str]]
) -> None:
    dag = dag_of({kind: Refusing()}, render={"node_conversion_by_task_group": False})

    assert [task_id for task_id in dag.task_ids if task_id.startswith("raw_ports.")] == [left]
    assert edges_at(dag, left) == edges


def test_where_a_converter_makes_nothing_of_a_node_no_edge_bridges_the_gap() -> None:
    dag = dag_of({"model": Refusing()}, render={"test_behavior": TestBehavior.NONE})

    assert sorted(dag.task_ids) == ["raw_ports_seed", "raw_vessels_seed", "snap_vessels_snapshot"]
    assert edges_at(dag, *dag.task_ids) == set()
    assert PORT_CALLS not in dag.tasks_map


def test_the_test_of_a_node_is_converted_with_the_node_and_a_detached_one_with_the_test() -> None:
    converter = Recorder()

    dag = dag_of({"test": converter}, render={"select": ["stg_ports"], "should_detach_multiple_parents_tests": True})

    assert [(given["task_id"], given["node"].unique_id) for given in converter.asked] == [
        ("test", "model.harbor_ops.stg_ports"),
        ("assert_calls_have_known_port_test", "test.harbor_ops.assert_calls_have_known_port"),
        (
            "relationships_port_calls_port_id__port_id__ref_stg_ports__test",
            "test.harbor_ops.relationships_port_calls_port_id__port_id__ref_stg_ports_.78abe941cb",
        ),
    ]
    assert dag.get_task("stg_ports.own_test").downstream_task_ids == {
        "own_assert_calls_have_known_port_test",
        "own_relationships_port_calls_port_id__port_id__ref_stg_ports__test",
    }


@pytest.mark.parametrize("converter", [Recorder(), Refusing()], ids=["made", "not-made"])
def test_the_one_test_of_all_belongs_to_no_node_and_may_be_left_out(converter: Recorder) -> None:
    dag = dag_of({"test": converter}, render={"test_behavior": TestBehavior.AFTER_ALL})

    assert [(given["task_id"], given["node"]) for given in converter.asked] == [("rendering-project_test", None)]
    assert ("rendering-project_test" in dag.tasks_map) is ("own_rendering-project_test" in dag.task_ids)


@pytest.mark.parametrize("answer", ["a text", 7, [None]], ids=["text", "number", "list"])
def test_what_is_neither_task_nor_group_is_refused_with_converter_and_node(answer: object) -> None:
    def to_something(**_: Any) -> object:
        return answer

    with pytest.raises(CosmosValueError, match=r"to_something gave .* for exposure\.harbor_ops\.ops_dashboard"):
        dag_of({"exposure": to_something})
