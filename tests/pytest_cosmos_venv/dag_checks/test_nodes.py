"""Nodes and tasks are compared as dbt would run them: by selection, by indirect selection and in batches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_cosmos_venv.dag_checks.nodes import test_faults, tests_of
from pytest_cosmos_venv.dag_checks.record import Node, Project, Task
from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject

test_faults.__test__ = tests_of.__test__ = False  # type: ignore[attr-defined] # they are no tests

SHIPS, ARRIVALS, ALONE, BOTH = "model.harbor.ships", "model.harbor.arrivals", "test.harbor.alone", "test.harbor.both"


def task(command: str | None, *upstream: str, node: str | None = None) -> Task:
    return Task(
        kind="Dbt",
        upstream=upstream,
        node=node,
        nodes=(),
        command=command,
        exclude=(),
        indirect_selection=None,
        outlets=(),
        emits=False,
    )


TASKS = {
    "ships.run": task("run", node=SHIPS),
    "ships.test": task("test", "ships.run", node=SHIPS),
    "arrivals.run": task("run", "ships.test", node=ARRIVALS),
    "arrivals.test": task("test", "arrivals.run", node=ARRIVALS),
}
PROJECT = Project(
    name="DbtDag harbor",
    dag_id="harbor",
    tasks=tuple(TASKS),
    nodes={
        SHIPS: Node(kind="model", name="ships", depends_on=()),
        ARRIVALS: Node(kind="model", name="arrivals", depends_on=(SHIPS,)),
        ALONE: Node(kind="test", name="alone", depends_on=(SHIPS,)),
        BOTH: Node(kind="test", name="both", depends_on=(SHIPS, ARRIVALS)),
    },
    selected=(SHIPS, ARRIVALS, ALONE, BOTH),
    tasks_of={SHIPS: ("ships.run", "ships.test"), ARRIVALS: ("arrivals.run", "arrivals.test")},
    is_whole=True,
    converted=(),
    hidden=(),
    test_behavior="after_each",
    profile_error=None,
)
EACH = tuple(name for name, each in TASKS.items() if each.command == "test")


def indirect(selection: str) -> dict[str, Task]:
    return {name: replace(each, indirect_selection=selection) for name, each in TASKS.items()}


@pytest.mark.parametrize(
    ("tasks", "lost"),
    [
        pytest.param(TASKS, [], id="eager"),
        pytest.param(indirect("cautious"), [BOTH], id="cautious"),
        pytest.param(indirect("buildable"), [], id="buildable"),
        pytest.param(indirect("empty"), [ALONE, BOTH], id="empty"),
        pytest.param({**TASKS, **{n: replace(TASKS[n], exclude=("both",)) for n in EACH}}, [BOTH], id="left-out"),
        pytest.param({n: each for n, each in TASKS.items() if n not in EACH}, [ALONE, BOTH], id="no-task-of-tests"),
        pytest.param({"all": replace(task("build"), nodes=(SHIPS, ARRIVALS, BOTH))}, [ALONE], id="batch"),
    ],
)
def test_a_test_is_lost_where_no_dbt_would_run_it(tasks: dict[str, Task], lost: list[str]) -> None:
    found = test_faults(replace(PROJECT, tasks=tuple(tasks)), tasks)

    assert [line.partition(":")[0] for line in found] == lost


@pytest.mark.long
def test_batches_detached_tests_and_groups_of_the_real_product_have_no_faults(
    project: CheckedProject,
) -> None:
    project.add(
        batches="dag = make('batches', render={'batch_by': 'folder'})",
        detached="dag = make('detached', render={'should_detach_multiple_parents_tests': True})",
        groups="""
        from airflow.sdk import DAG

        def group(name, **render):
            return cosmos.DbtTaskGroup(
                group_id=name,
                project_config=cosmos.ProjectConfig(PROJECT, manifest_path=PROJECT / "target" / "manifest.json"),
                profile_config=cosmos.ProfileConfig("harbor", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
                render_config=cosmos.RenderConfig(load_method=cosmos.LoadMode.DBT_MANIFEST, **render),
            )

        with DAG("groups", schedule=None) as dag:
            group("first", exclude=["arrivals"]) >> group("second", select=["arrivals"])
        """,
    )

    checked = project.run("-n", "2", "-k", "nodes or tests")

    for file in ("batches", "detached", "groups"):
        assert checked.verdicts(f"dags/{file}.py") == {"nodes": "passed", "tests": "passed"}, checked.output
