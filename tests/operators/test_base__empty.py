"""Empty lists and dicts of a task: each task has its own."""

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
    """Three tasks of a DAG that have the same arguments: one by its constructor, on Airflow 3 two as its copies."""
    shared = {name: value for name, value in given.items() if name != "task_id"}
    maker = TaskMaker(shared=shared, dag=DAG("harbor", schedule=None))
    return [maker.make(DbtRunVirtualenvOperator, label, None, {}) for label in ("tugs", "cranes", "piers")]


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
