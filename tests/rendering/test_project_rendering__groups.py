"""The places of a DbtTaskGroup: beside and in other groups, several times, without a prefix, once per value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtTaskGroup, ExecutionConfig, TestBehavior
from cosmos_venv.compat import DAG, EmptyOperator, TaskGroup
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.rendering.recorded_project import START, dag_of, edges_of, manifest_arguments


def selecting(project: Path, *select: str, **render: Any) -> dict[str, Any]:
    return manifest_arguments(project, render={"select": list(select), **render})


def new_dag() -> DAG:
    return DAG("outer", schedule=None, start_date=START)


def test_two_groups_of_one_project_stand_side_by_side_and_apart(project: Path) -> None:
    with new_dag() as dag:
        north, south = (DbtTaskGroup(name, **selecting(project, "stg_ports")) for name in ("north", "south"))

    assert sorted(dag.task_ids) == [
        "north.stg_ports.run",
        "north.stg_ports.test",
        "south.stg_ports.run",
        "south.stg_ports.test",
    ]
    assert edges_of(dag) == {(f"{name}.stg_ports.run", f"{name}.stg_ports.test") for name in ("north", "south")}
    assert north.tasks_map.keys() == south.tasks_map.keys()


def test_one_group_after_another_joins_last_tasks_to_first_ones(project: Path) -> None:
    with new_dag() as dag:
        staging = DbtTaskGroup("staging", **selecting(project, "tag:staging"))
        marts = DbtTaskGroup("marts", **selecting(project, "tag:marts"))
        staging >> marts

    crossing = {(before, after) for before, after in edges_of(dag) if before.split(".")[0] != after.split(".")[0]}
    lasts = {f"staging.{task.task_id}" for task in staging.plan.tasks} - {
        before for before, after in edges_of(dag) if after.startswith("staging")
    }
    firsts = {f"marts.{task.task_id}" for task in marts.plan.tasks} - {
        after for before, after in edges_of(dag) if before.startswith("marts")
    }
    assert crossing == {(before, after) for before in lasts for after in firsts}


@pytest.mark.parametrize("own", [{"run_summary": True}, {"run_hooks_once": True, "run_summary": True}], ids=str)
def test_a_task_behind_a_group_comes_behind_no_teardown_task_and_no_task_in_the_middle(
    project: Path, own: dict[str, Any]
) -> None:
    def before_the_last(**render: Any) -> set[str]:
        with new_dag():
            last = EmptyOperator(task_id="last")
            DbtTaskGroup("harbor", **selecting(project, "tag:staging", "tag:marts", **render)) >> last
        return last.upstream_task_ids

    assert before_the_last(**own) == ({"harbor.dbt_on_run_end_done"} if "run_hooks_once" in own else before_the_last())


def test_a_group_stands_in_groups_of_the_users_own(project: Path) -> None:
    with new_dag() as dag:
        before = EmptyOperator(task_id="before")
        with TaskGroup("nightly") as nightly, TaskGroup("dbt"):
            DbtTaskGroup("harbor", **selecting(project, "stg_ports", "geo_cells", group_nodes_by_folder=True))
        before >> nightly

    assert sorted(dag.task_ids) == [
        "before",
        "nightly.dbt.harbor.models.staging.geo.geo_cells_run",
        "nightly.dbt.harbor.models.staging.stg_ports.run",
        "nightly.dbt.harbor.models.staging.stg_ports.test",
    ]
    assert before.downstream_task_ids == {"nightly.dbt.harbor.models.staging.stg_ports.run"}


def test_a_group_may_add_nothing_to_the_ids(project: Path) -> None:
    with new_dag() as dag:
        DbtTaskGroup("harbor", prefix_group_id=False, **selecting(project, "stg_ports", "stg_pings"))

    assert sorted(dag.task_ids) == ["stg_pings_run", "stg_ports.run", "stg_ports.test"]


@pytest.mark.parametrize("test_behavior", TestBehavior)
def test_folders_change_where_tasks_stand_and_not_what_comes_after_what(
    project: Path, test_behavior: TestBehavior
) -> None:
    def edges(**render: Any) -> set[tuple[str, ...]]:
        dag = dag_of(project, render={"test_behavior": test_behavior, **render})
        folders = {group.group_id for group in dag.plan.groups if group.label in {"models", "staging", "marts"}}
        assert bool(folders) is bool(render)
        return {tuple(short(task_id) for task_id in edge) for edge in edges_of(dag)}

    def short(task_id: str) -> str:
        parts = task_id.split(".")
        return ".".join(parts[-2:]) if parts[-1] in ("run", "test", "seed", "snapshot") else parts[-1]

    assert edges(group_nodes_by_folder=True) == edges()


def test_a_mapped_group_runs_the_project_once_per_value(
    project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The recorded project is a manifest without the files of its nodes, so dbt can report none.
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__UNREPORTED_NODES", "warn")

    from airflow.sdk import task_group

    with new_dag() as dag:

        @task_group
        def per_region(region: str) -> None:
            DbtTaskGroup(
                "harbor",
                **manifest_arguments(
                    project,
                    render={"select": ["stg_pings"], "run_hooks_once": True},
                    execution_config=ExecutionConfig(dbt_executable_path=cosmos_fake_venv.dbt),
                    operator_args={"vars": {"region": region}, "install_deps": False},
                ),
            )

        per_region.expand(region=["north", "south"])

    assert "per_region.harbor.stg_pings_run" in dag.task_ids
    assert cosmos_airflow.run(dag).succeeded
    said = [(call.argv[call.argv.index("--vars") + 1], call.command) for call in cosmos_fake_venv.calls]
    for region in ("north", "south"):
        commands = [command for variables, command in said if variables == f"region: {region}\n"]
        assert commands == ["run-operation", "run", "run-operation"]
