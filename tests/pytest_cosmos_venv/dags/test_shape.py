"""The shape of a DAG is the same wherever it is looked at, and its diff says what changed."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

from pytest_cosmos_venv.dags.shape import dag_shape
from pytest_cosmos_venv.errors import ToolkitMisuse
from tests.pytest_cosmos_venv.inner_run import python_of

DEADLINE = 120.0
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

# A project with tests of its own, for Airflow 2 and 3.
DAG_FILE = """
from datetime import datetime, timezone

try:
    from airflow.sdk import DAG, TaskGroup, task
except ImportError:
    from airflow.decorators import task
    from airflow.models.dag import DAG
    from airflow.utils.task_group import TaskGroup
try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    from airflow.operators.bash import BashOperator
    from airflow.operators.empty import EmptyOperator

with DAG("harbor", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None) as dag:
    arrive = EmptyOperator(task_id="arrive")
    with TaskGroup("load"):
        with TaskGroup("berth"):
            crane = BashOperator(task_id="crane", bash_command="", env={"b": "2", "a": "1"}, trigger_rule="all_done")
    each = BashOperator.partial(task_id="each", env={"c": "3"}).expand(bash_command=["true", "false"])

    @task
    def leave(names):
        return names

    moor = EmptyOperator(task_id="moor").as_setup()
    EmptyOperator(task_id="cast_off").as_teardown(setups=moor)
    [arrive, moor] >> crane >> [each, leave(["x"])]
"""
TREE = """\
dag harbor
  arrive (EmptyOperator)
  cast_off (EmptyOperator, teardown)
    after moor
    trigger rule all_done_setup_success
  each (BashOperator, mapped)
    after load.berth.crane
    env = {'c': '3'}
  leave (_PythonDecoratedOperator)
    after load.berth.crane
  group load
    group load.berth
      load.berth.crane (BashOperator)
        after arrive
        after moor
        trigger rule all_done
        env = {'a': '1', 'b': '2'}
  moor (EmptyOperator, setup)
"""
TESTS = f'''
from harbor import dag

TREE = """{TREE}"""

def test_the_tree(cosmos_airflow):
    assert cosmos_airflow.shape(dag, fields=["env"]).text == TREE
'''


def _run_pytest(environment: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [str(python_of(environment)), "-W", "ignore", "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**kept, "AIRFLOW_HOME": str(folder / "airflow"), "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


@pytest.mark.long
def test_a_dag_has_one_shape_on_airflow_2_and_3(tmp_path: Path) -> None:
    (tmp_path / "harbor.py").write_text(DAG_FILE, encoding="utf-8")
    (tmp_path / "test_tree.py").write_text(TESTS, encoding="utf-8")
    namespace: dict[str, Any] = {}
    exec(compile(DAG_FILE, "harbor.py", "exec"), namespace)  # noqa: S102

    on_2 = _run_pytest("cosmos2", tmp_path)

    assert dag_shape(namespace["dag"], fields=["env"]).text == TREE
    assert on_2.returncode == 0, on_2.stdout + on_2.stderr


def _two_tasks(**arguments: Any) -> DAG:
    with DAG("harbor", start_date=START, schedule=None) as dag:
        EmptyOperator(task_id="arrive") >> BashOperator(task_id="crane", bash_command="true", **arguments)
    return dag


def test_the_data_are_plain_and_sorted() -> None:
    with DAG("harbor", start_date=START, schedule=None) as dag:
        after = EmptyOperator(task_id="z")
        with TaskGroup("g", prefix_group_id=False):
            after << [EmptyOperator(task_id="b"), EmptyOperator(task_id="a")]

    assert dag_shape(dag).data == {
        "dag_id": "harbor",
        "groups": {"g": None},
        "tasks": {
            "a": {"type": "EmptyOperator", "group": "g", "upstream": [], "trigger_rule": "all_success"},
            "b": {"type": "EmptyOperator", "group": "g", "upstream": [], "trigger_rule": "all_success"},
            "z": {"type": "EmptyOperator", "group": None, "upstream": ["a", "b"], "trigger_rule": "all_success"},
        },
    }
    assert str(dag_shape(dag)) == dag_shape(dag).text


def test_fields_are_written_the_same_in_every_process() -> None:
    crane: Any = (dag := _two_tasks(execution_timeout=timedelta(minutes=1))).task_dict["crane"]
    crane.env = {"names": {"b", "a"}, "at": START, "in": Path("x"), "of": ("a", 1.5, None)}

    shape = dag_shape(dag, fields=["env", "execution_timeout"])

    assert shape.data["tasks"]["crane"]["execution_timeout"] == "0:01:00"
    assert shape.data["tasks"]["crane"]["env"] == {
        "at": "2026-01-01 00:00:00+00:00",
        "in": "x",
        "names": ["a", "b"],
        "of": ["a", 1.5, None],
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("nothing_like_it",), "fields=['nothing_like_it']: no task of DAG 'harbor' has 'nothing_like_it'."),
        (("dag",), "Field 'dag' of task 'arrive' is an object of airflow.sdk.definitions.dag.DAG, which is"),
    ],
)
def test_fields_that_have_no_shape_are_told(fields: Any, words: str) -> None:
    with pytest.raises(ToolkitMisuse) as raised:
        dag_shape(_two_tasks(), fields=fields)

    assert words in str(raised.value)
