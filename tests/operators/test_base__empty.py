"""Empty lists and dicts of a task: each task has its own, and none of them before somebody asks for it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import DAG
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from cosmos_venv.rendering.airflow_tasks import TaskMaker
from tests.kit import operator_arguments

EMPTY: dict[str, Any] = {
    "env": {},
    "callback_args": {},
    "dbt_cmd_flags": [],
    "dbt_cmd_global_flags": [],
    "interceptors": [],
    "pip_install_options": [],
}


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    return {**operator_arguments(tmp_path), "py_requirements": ["dbt-duckdb"]}


def alike(given: dict[str, Any]) -> list[Any]:
    """Three tasks of a DAG that have the same arguments: one by its constructor, two as its copies."""
    shared = {name: value for name, value in given.items() if name != "task_id"}
    maker = TaskMaker(shared=shared, dag=DAG("harbor", schedule=None))
    return [maker.make(DbtRunVirtualenvOperator, label, None, {}) for label in ("tugs", "cranes", "piers")]


def test_tasks_of_a_dag_hold_no_empty_ones(given: dict[str, Any]) -> None:
    held = [EMPTY.keys() & vars(task).keys() for task in alike(given)]

    assert held == [set(), set(), set()]


@pytest.mark.parametrize("name", EMPTY)
def test_each_task_has_its_own(name: str, given: dict[str, Any]) -> None:
    first, second, third = alike(given)
    own = getattr(second, name)
    if isinstance(own, dict):
        own["SIGNAL"] = "green"
    else:
        own.append("--signal")

    assert getattr(second, name) is own
    assert getattr(copy.deepcopy(second), name) == own != EMPTY[name]
    assert [getattr(each, name) for each in (first, third)] == [EMPTY[name], EMPTY[name]]


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_given_stays(name: str, given: dict[str, Any]) -> None:
    values = {"env": {"TIDE": "high"}, "callback_args": {"berth": 4}, "interceptors": [print]}
    value = values.get(name, ["--debug"])

    got = [getattr(task, name) for task in alike({**given, name: value})]

    assert got == [value] * 3
    assert len({id(each) for each in got}) == 3


def test_a_class_of_a_user_may_say_its_own(given: dict[str, Any]) -> None:
    class Harbor(DbtRunVirtualenvOperator):
        env = {"TIDE": "low"}  # noqa: RUF012 - as users write it

    assert Harbor(**given).env == {}
    assert DbtRunVirtualenvOperator(**given).env == {}
