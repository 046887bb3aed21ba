"""A task that was copied is the one that its constructor makes, and edges drawn at once are those of ``>>``."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import ProfileConfig
from cosmos_venv.compat import DAG, BaseOperator, TaskGroup
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.virtualenv import DbtTestVirtualenvOperator
from cosmos_venv.rendering.airflow_tasks import TaskMaker
from tests.rendering.recorded_project import START

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("serialised_dags.py")
PROFILE = ProfileConfig("harbor", "dev", profiles_yml_filepath="/harbor/profiles.yml")


@pytest.mark.long
def test_airflow_serialises_the_same_dags(python: Path, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }

    done = subprocess.run(
        [str(python), str(SCRIPT), "1", "2", "3"], env=env, capture_output=True, text=True, timeout=240, check=False
    )

    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert all(size > 5_000 for size in verdict["sizes"])
    assert verdict["edges"] == [True, True, True], "put in order"
    assert verdict["operators"], "made"


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("harbor", start_date=START, schedule=None) as dag:
        yield dag


def maker(dag: DAG, **shared: Any) -> TaskMaker:
    return TaskMaker(shared={"project_dir": "/harbor", "profile_config": PROFILE, **shared}, dag=dag)


def facts(task: BaseOperator, model: BaseOperator) -> dict[str, Any]:
    """Every attribute that the model has, but those that name the task itself."""
    own = {"task_id", "select", "extra_context", "doc_md", "task_group", "_BaseOperator__init_kwargs"}
    told = {name: getattr(task, name) for name in vars(model).keys() - own}
    return {name: dict(value) if name == "params" else value for name, value in told.items()}


@pytest.mark.parametrize("cls", [DbtRunLocalOperator, DbtTestVirtualenvOperator])
@pytest.mark.parametrize("place", [None, "marts"])
def test_a_copy_has_every_attribute_of_its_model(dag: DAG, cls: type[BaseOperator], place: str | None) -> None:
    group = TaskGroup(place) if place else None
    make = maker(dag, env={"A": "b"}, params={"p": 1}, py_requirements=["dbt"], outlets=[])

    first, second = (
        make.make(cls, name, group, {"select": name, "extra_context": {"n": name}, "doc_md": name})
        for name in ("first", "second")
    )

    assert facts(second, first) == facts(first, first)
    assert vars(second).keys() <= vars(first).keys()
    assert (second.select, second.extra_context, second.doc_md) == ("second", {"n": "second"}, "second")  # type: ignore[attr-defined]
    assert second.task_id == (f"{place}.second" if place else "second")
    assert second.task_group is (group or dag.task_group)
    assert dag.get_task(second.task_id) is second
    assert second._BaseOperator__init_kwargs == {"params": {"p": 1}, "outlets": []}  # type: ignore[attr-defined]


def test_tasks_that_differ_in_the_tasks_that_skip_them_are_copies(dag: DAG) -> None:
    make = maker(dag)

    tasks: list[Any] = [
        make.make(DbtRunLocalOperator, name, None, {"select": name, "skipped_with": [f"before_{name}"]})
        for name in ("a", "b")
    ]

    assert [task.skipped_with for task in tasks] == [["before_a"], ["before_b"]]
    assert tasks[1]._BaseOperator__init_kwargs == {}, "a copy keeps none"


def test_what_is_changed_of_one_task_is_not_changed_of_its_copies(dag: DAG) -> None:
    make = maker(dag, env={"A": "b"}, dbt_cmd_flags=["--debug"])
    tasks: list[Any] = [make.make(DbtRunLocalOperator, name, None, {"select": name}) for name in ("a", "b", "c")]

    tasks[0].env["A"] = "changed"
    tasks[1].dbt_cmd_flags.append("--empty")
    tasks[1].params["new"] = 1
    tasks[1].interceptors.append(print)
    tasks[0] >> tasks[2]

    assert [task.env["A"] for task in tasks] == ["changed", "b", "b"]
    assert [task.interceptors for task in tasks] == [[], [print], []]
    assert [task.dbt_cmd_flags for task in tasks] == [["--debug"], ["--debug", "--empty"], ["--debug"]]
    assert [list(task.params) for task in tasks] == [[], ["new"], []]
    assert [task.upstream_task_ids for task in tasks] == [set(), set(), {"a"}]


def test_a_task_with_other_arguments_is_no_copy(dag: DAG) -> None:
    make = maker(dag)
    given: list[dict[str, Any]] = [{}, {"retries": 1}, {"retries": True}, {"pool": "dbt"}, {"env": {"A": "b"}}]

    tasks: list[Any] = [
        make.make(DbtRunLocalOperator, f"t{number}", None, {"select": "x", **own}) for number, own in enumerate(given)
    ]

    assert [(task.retries, task.pool, task.env) for task in tasks] == [
        (0, "default_pool", {}),
        (1, "default_pool", {}),
        (1, "default_pool", {}),
        (0, "dbt", {}),
        (0, "default_pool", {"A": "b"}),
    ]


@pytest.mark.parametrize(
    ("task_id", "words"), [("a", "already been added"), ("b c", "alphanumeric"), ("x" * 251, "250")]
)
def test_airflow_refuses_the_id_of_a_copy_as_of_any_task(dag: DAG, task_id: str, words: str) -> None:
    make = maker(dag)
    make.make(DbtRunLocalOperator, "a", None, {"select": "a"})

    with pytest.raises(Exception, match=words):
        make.make(DbtRunLocalOperator, task_id, None, {"select": "b"})
