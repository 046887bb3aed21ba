"""A worker that parses the DAG file for one task makes of a dbt project that task, until more is wanted."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from cosmos_venv.rendering.one_task import partial
from pytest_cosmos_venv import FakeVenv
from tests.worker_parse import made_of, parse, parse_in_worker

pytestmark = pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2's worker looks at the states of other tasks itself")

HEAD = """
from datetime import datetime, timezone
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task
from cosmos_venv import (
    DbtDag, DbtTaskGroup, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig,
)
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
FOLDER = {folder!r}

def dbt(select=(), **more):
    return dict(
        project_config=ProjectConfig(FOLDER, manifest_path=FOLDER + "/manifest.json"),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=FOLDER + "/profiles.yml"),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=list(select), **more),
        operator_args={{"py_requirements": ["dbt-duckdb"], "retries": 3}},
    )
"""
WHOLE = """
dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, default_args={"owner": "me"}, **dbt())
"""
BETWEEN = """
with DAG("harbor", schedule=None, start_date=START) as dag:
    pre, post = EmptyOperator(task_id="pre"), EmptyOperator(task_id="post")
    with TaskGroup("outer"):
        first = DbtTaskGroup("first", **dbt(["stg_ports", "port_calls"]))
    second = DbtTaskGroup("second", prefix_group_id=True, **dbt(["stg_vessels+"]))
    pre >> first >> second >> post
"""


InWorker = Callable[[Path, str], Any]
"""DAG file and task id -> the DAG as a worker parses it for that task."""


class DagFile(Protocol):
    def __call__(self, source: str, folder: Path | None = None) -> Path: ...


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "kept"))


@pytest.fixture
def dag_file(tmp_path: Path, project: Path) -> DagFile:
    def write(source: str, folder: Path | None = None) -> Path:
        file = tmp_path / "harbor.py"
        file.write_text(HEAD.format(folder=str(folder or project)) + textwrap.dedent(source))
        return file

    return write


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch) -> InWorker:
    return lambda file, task_id: parse_in_worker(monkeypatch, file, "harbor", task_id)


def parsed(file: Path) -> Any:
    """The DAG of the file, with all its tasks."""
    return parse(file, "harbor")


def facts(task: Any) -> dict[str, Any]:
    """The arguments and the place of a task."""
    unlike = {"_dag", "task_group", "upstream_task_ids", "downstream_task_ids", "_BaseOperator__init_kwargs", "params"}
    groups, group = [], task.task_group
    while group is not None:
        groups.append((group.group_id, group.prefix_group_id))
        group = group.parent_group
    return {**{name: value for name, value in vars(task).items() if name not in unlike}, "groups": groups}


@pytest.mark.parametrize("task_id", ["port_calls.run", "port_calls.test", "stg_vessels_run", "raw_ports.seed"])
def test_a_worker_makes_the_task_that_it_runs_and_no_other(
    dag_file: DagFile, in_worker: InWorker, task_id: str
) -> None:
    file = dag_file(WHOLE)
    whole = parsed(file)

    dag = in_worker(file, task_id)

    assert made_of(dag) == {task_id}
    assert facts(dag.task_dict[task_id]) == facts(whole.task_dict[task_id])
    assert dag.task_dict[task_id].upstream_task_ids == whole.task_dict[task_id].upstream_task_ids
    assert dag.task_dict[task_id].downstream_task_ids == whole.task_dict[task_id].downstream_task_ids
    assert made_of(dag) == {task_id}


def test_a_release_of_airflow_that_nobody_has_tried_gets_the_whole_dag(
    dag_file: DagFile, in_worker: InWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = dag_file(WHOLE)
    whole = parsed(file)
    monkeypatch.setattr(partial, "ARE_FRAME_NAMES_SEEN", False)

    dag = in_worker(file, "stg_vessels_run")

    assert made_of(dag) == made_of(whole)


OTHERS = """
import sys
others = [DbtDag(dag_id=f"other_{number}", schedule=None, start_date=START, **dbt()) for number in range(3)]
sys.others_of_a_test = others
"""


def test_of_the_other_dags_of_a_file_nothing_is_made_until_the_file_looks_at_them(
    dag_file: DagFile, in_worker: InWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "others_of_a_test", [], raising=False)
    file = dag_file(WHOLE + OTHERS + "\nlen(others[1].tasks)\n")
    whole = parsed(file)

    dag = in_worker(file, "stg_vessels_run")

    others = sys.others_of_a_test  # type: ignore[attr-defined]
    assert made_of(dag) == {"stg_vessels_run"}
    assert [made_of(other) == made_of(whole) for other in others] == [False, True, False]
    assert made_of(others[0]) == set()
    assert {*others[0].task_dict} == made_of(whole)


def test_a_running_task_knows_all_that_comes_after_it(dag_file: DagFile, in_worker: InWorker) -> None:
    file = dag_file(WHOLE)
    whole = parsed(file)
    expected = whole.task_dict["stg_vessels_run"].get_flat_relative_ids(upstream=False)

    task = in_worker(file, "stg_vessels_run").task_dict["stg_vessels_run"]

    assert len(expected) > 2
    assert task.get_flat_relative_ids(upstream=False) == expected


def test_the_first_worker_makes_all_and_keeps_what_the_next_one_needs(dag_file: DagFile, in_worker: InWorker) -> None:
    file = dag_file(WHOLE)

    first, second = (in_worker(file, "stg_vessels_run") for _ in range(2))

    assert len(made_of(first)) > 15
    assert made_of(second) == {"stg_vessels_run"}


@pytest.mark.parametrize("task_id", ["outer.first.port_calls.test", "second.fleet_summary.test"])
def test_of_several_groups_only_what_is_needed_is_made(dag_file: DagFile, in_worker: InWorker, task_id: str) -> None:
    file = dag_file(BETWEEN)
    whole = parsed(file)

    dag = in_worker(file, task_id)

    assert made_of(dag) == {"pre", "post", task_id}
    assert facts(dag.task_dict[task_id]) == facts(whole.task_dict[task_id])


@pytest.mark.parametrize("name", ["dbt_on_run_start", "dbt_on_run_end", "stg_vessels_run"])
def test_a_task_that_runs_hooks_is_made_alone(dag_file: DagFile, in_worker: InWorker, name: str) -> None:
    group = 'DbtTaskGroup("all", **dbt(run_hooks_once=True))'
    file = dag_file(f"""
        with DAG("harbor", schedule=None, start_date=START) as dag:
            EmptyOperator(task_id="pre") >> {group} >> EmptyOperator(task_id="post")
    """)
    whole = parsed(file)

    dag = in_worker(file, f"all.{name}")

    assert made_of(dag) == {"pre", "post", f"all.{name}"}
    task, expected = (each.task_dict[f"all.{name}"] for each in (dag, whole))
    assert facts(task) == {**facts(expected), "is_setup": False}  # which no worker asks for
    assert (expected.is_setup, expected.is_teardown) == (name == "dbt_on_run_start", name == "dbt_on_run_end")
    for neighbours in ("upstream_task_ids", "downstream_task_ids"):
        assert getattr(task, neighbours) == getattr(expected, neighbours)


def test_for_a_task_of_the_users_own_everything_is_made(dag_file: DagFile, in_worker: InWorker) -> None:
    file = dag_file(BETWEEN)
    whole = parsed(file)

    dag = in_worker(file, "pre")

    assert made_of(dag) == made_of(whole)
    assert dag.task_dict["pre"].downstream_task_ids == whole.task_dict["pre"].downstream_task_ids


@pytest.mark.parametrize(
    "touch",
    [
        'dag.get_task("stg_ports.run") >> EmptyOperator(task_id="mine", dag=dag)',
        'assert "stg_ports.run" in dag.task_ids',
        "assert len(dag.tasks) > 15",
        'dag.tasks_map["model.harbor_ops.port_calls"] >> EmptyOperator(task_id="mine", dag=dag)',
        "assert dag.plan.tasks and dag.dbt_graph.filtered_nodes",
        "for each in dag.task_group: each.pool = 'mine'",
        'dag.task_group.children["port_calls"].children["port_calls.test"].retries = 7',
        'dag = dag.partial_subset("stg_vessels_run")\nassert len(dag.tasks) > 1',
    ],
)
def test_who_looks_at_more_of_the_dag_finds_all_of_it(dag_file: DagFile, in_worker: InWorker, touch: str) -> None:
    file = dag_file(f"{WHOLE}\n{touch}\n")
    whole = parsed(file)

    dag = in_worker(file, "stg_vessels_run")

    assert made_of(dag) == made_of(whole)
    for task_id, task in whole.task_dict.items():
        assert facts(dag.task_dict[task_id]) == facts(task)
        assert dag.task_dict[task_id].downstream_task_ids == task.downstream_task_ids
        assert dag.task_dict[task_id].upstream_task_ids == task.upstream_task_ids


def test_the_rest_has_the_edges_of_the_whole_when_a_running_task_asks_for_it(
    dag_file: DagFile, in_worker: InWorker
) -> None:
    file = dag_file(BETWEEN)
    whole = parsed(file)
    task_id = "outer.first.port_calls.run"
    dag = in_worker(file, task_id)
    task = dag.task_dict[task_id]

    names = {each.task_id for each in dag.tasks}

    assert names == made_of(whole)
    assert dag.get_task(task_id) is task
    assert task.downstream_task_ids == whole.task_dict[task_id].downstream_task_ids
    assert task.upstream_list


RELATED = """
from airflow.sdk import Label, chain

with DAG("harbor", schedule=None, start_date=START) as dag:
    pre, post, other = (EmptyOperator(task_id=name) for name in ("pre", "post", "other"))
    with TaskGroup("outer") as outer:
        first = DbtTaskGroup("first", **dbt(["stg_ports", "port_calls"]))
        inside = EmptyOperator(task_id="inside")
    second = DbtTaskGroup("second", **dbt(["stg_vessels+"]))
    {relate}
"""


@pytest.mark.parametrize(
    "task_id", ["outer.first.stg_ports.run", "outer.first.port_calls.run", "outer.first.port_calls.test"]
)
@pytest.mark.parametrize(
    "relate",
    [
        "pre >> first >> post",
        "[pre, other] >> first",
        "first << pre",
        "post << first",
        "first.set_downstream([post, second])",
        "second.set_upstream(first)",
        "chain(pre, first, [post, other])",
        "pre >> Label('ready') >> first >> Label('done') >> post",
        "pre >> outer >> post",
        "first >> inside",
        "first >> second >> post",
        "second >> first",
        "pre.as_setup() >> first >> post.as_teardown()",
    ],
)
def test_a_group_made_in_part_stands_between_other_tasks_as_the_whole_does(
    dag_file: DagFile, in_worker: InWorker, relate: str, task_id: str
) -> None:
    file = dag_file(RELATED.format(relate=relate))
    whole = parsed(file)
    dag = in_worker(file, task_id)
    made, task, expected = made_of(dag), dag.task_dict[task_id], whole.task_dict[task_id]

    assert expected.downstream_task_ids & made <= task.downstream_task_ids <= expected.downstream_task_ids
    assert expected.upstream_task_ids & made <= task.upstream_task_ids <= expected.upstream_task_ids
    assert {each.task_id for each in dag.tasks} == made_of(whole)
    assert edges_of(dag) == edges_of(whole)
    assert dag.edge_info == whole.edge_info


def edges_of(dag: Any) -> dict[str, Any]:
    """The edges of tasks and of groups."""
    nodes = {**dag.task_dict, **dag.task_group_dict}
    names = ("upstream_task_ids", "downstream_task_ids", "upstream_group_ids", "downstream_group_ids")
    return {key: {name: getattr(node, name, None) for name in names} for key, node in nodes.items()}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param('dag = DbtDag(dag_id="harbor", **dbt(["stg_vessels+"]))', id="selection"),
        pytest.param('dag = DbtDag(dag_id="harbor", **dbt(enable_owner_inheritance=False))', id="owners"),
        pytest.param(
            'dag = DbtDag(dag_id="harbor", **dbt(normalize_task_id=lambda node: node.name + "_run"))', id="a-hook"
        ),
        pytest.param(
            """
            with DAG("harbor") as dag, TaskGroup("g", prefix_group_id=False):
                DbtTaskGroup("x", prefix_group_id=False, **dbt(exclude=["stg_ports"]))
            """,
            id="another-place",
        ),
    ],
)
def test_what_was_kept_for_something_else_is_not_taken(dag_file: DagFile, in_worker: InWorker, change: str) -> None:
    parsed(dag_file(WHOLE))

    dag = in_worker(dag_file(change), "stg_vessels_run")

    assert len(made_of(dag)) > 1


def test_a_manifest_that_has_changed_is_read_again(dag_file: DagFile, project: Path, in_worker: InWorker) -> None:
    file = dag_file(WHOLE)
    parsed(file)
    manifest = project / "manifest.json"
    before = manifest.stat()
    manifest.write_text(manifest.read_text().replace('"stg_vessels"', '"stg_vessel5"'))
    os.utime(manifest, ns=(before.st_atime_ns, before.st_mtime_ns))

    dag = in_worker(file, "stg_vessels_run")

    assert len(made_of(dag)) > 15


@pytest.mark.parametrize("setting", ["BUILD_ONLY_RUNNING_TASK", "ENABLE_CACHE"])
def test_a_setting_has_everything_made(
    dag_file: DagFile, tmp_path: Path, in_worker: InWorker, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    file = dag_file(WHOLE)
    parsed(file)
    monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{setting}", "False")

    assert len(made_of(in_worker(file, "stg_vessels_run"))) > 15


def test_a_process_that_a_task_starts_sees_the_whole_dag(dag_file: DagFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file = dag_file(WHOLE)
    parsed(file)
    # Airflow leaves these in the environment of the running task.
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "harbor")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "stg_vessels_run")

    assert len(made_of(parsed(file))) > 15


BY_DBT_LS = """
from cosmos_venv import InvocationMode

dag = DbtDag(
    dag_id="harbor",
    project_config=ProjectConfig(FOLDER),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=FOLDER + "/profiles.yml"),
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
)
"""


def test_what_dbt_ls_has_said_is_enough_for_the_task_that_runs(
    dag_file: DagFile, dbt_project: Path, cosmos_fake_venv: FakeVenv, in_worker: InWorker
) -> None:
    file = dag_file(BY_DBT_LS.format(dbt=str(cosmos_fake_venv.dbt)), dbt_project)
    whole = parsed(file)

    dag = in_worker(file, "staging_run")

    assert made_of(dag) == {"staging_run"}
    assert facts(dag.task_dict["staging_run"]) == facts(whole.task_dict["staging_run"])
    assert len(cosmos_fake_venv.calls) == 1
    (dbt_project / "models" / "more.sql").write_text("select 1")
    assert made_of(in_worker(file, "staging_run")) > {"staging_run", "more_run"}


def test_a_mapped_group_is_made_whole(dag_file: DagFile, in_worker: InWorker) -> None:
    file = dag_file("""
        from airflow.sdk import task_group

        with DAG("harbor") as dag:
            @task_group
            def each(n):
                DbtTaskGroup("dbt", **dbt(["stg_vessels"]))

            each.expand(n=[1, 2])
        """)
    whole = parsed(file)

    dag = in_worker(file, "each.dbt.stg_vessels_run")

    assert made_of(dag) == made_of(whole)


MIXED = """
with DAG("harbor", schedule=None, start_date=START) as dag:
    pre = EmptyOperator(task_id="pre")
    with TaskGroup("outer"):
        first = DbtTaskGroup("first", **dbt(["stg_ports", "port_calls"]))
        between = EmptyOperator(task_id="between")
        second = DbtTaskGroup("second", **dbt(["stg_vessels+"], group_nodes_by_folder=True))
    post = EmptyOperator(task_id="post")
    third = DbtTaskGroup("third", **dbt(["stg_ports"]))
    last = EmptyOperator(task_id="last")
"""


@pytest.mark.parametrize("source", [WHOLE, BETWEEN, MIXED], ids=["whole", "between", "mixed"])
def test_in_a_worker_the_tasks_stand_in_the_order_of_the_plan(
    source: str, dag_file: DagFile, in_worker: InWorker
) -> None:
    """A DAG file that changes ``dag.tasks[0]`` must change the same task in each process."""
    file = dag_file(source)
    whole = order_of(parsed(file))

    orders = {task_id: order_of(in_worker(file, task_id)) for task_id in whole["tasks"]}

    assert orders == dict.fromkeys(whole["tasks"], whole)


def order_of(dag: Any) -> dict[str, list[str]]:
    """The tasks of the DAG, and what stands in each of its groups, in order."""
    groups = {"root": dag.task_group, **dag.task_group.get_task_group_dict()}
    groups = {str(name): group for name, group in groups.items() if name}
    tasks = [task.task_id for task in dag.tasks]
    sorts = [task.node_id for task in dag.task_group.topological_sort()]
    return {"tasks": tasks, "sorted": sorts, **{name: [*group.children] for name, group in groups.items()}}


@pytest.mark.parametrize(
    "walk",
    [
        "seen = [[*value] for value in vars(dag).values() if isinstance(value, dict)]",
        "seen = [[*value] for value in vars(dag.task_group).values() if isinstance(value, dict)]",
        "copied = [dag.partial_subset('ports')]",
        "copied = copy.deepcopy(dag)\nassert [*copied.task_dict] == [*dag.task_dict]",
        "copied = copy.deepcopy(dag.task_group)\nassert [*copied.children] == [*dag.task_group.children]",
    ],
)
@pytest.mark.parametrize("source", [WHOLE, MIXED], ids=["whole", "mixed"])
def test_a_walk_through_a_dag_finds_the_same_in_a_worker(
    source: str, walk: str, dag_file: DagFile, in_worker: InWorker
) -> None:
    file = dag_file(f"{source}\nimport copy\n{walk}")
    whole = order_of(parsed(file))

    made = in_worker(file, whole["tasks"][2])

    assert order_of(made) == whole
