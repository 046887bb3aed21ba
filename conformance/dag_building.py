"""How does a DAG come of a plan? By the public classes of an implementation with Cosmos's import layout."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv import dag_shape

from .dags import AFTER, BEFORE, RenderedTask, Shape

if TYPE_CHECKING:
    from .adapter import Adapter
    from .dags import DagPlan

_ENUMS = {
    "execution_mode": "ExecutionMode",
    "invocation_mode": "InvocationMode",
    "load_method": "LoadMode",
    "test_behavior": "TestBehavior",
    "source_rendering_behavior": "SourceRenderingBehavior",
    "seed_rendering_behavior": "SeedRenderingBehavior",
    "test_indirect_selection": "TestIndirectSelection",
}
"""Parameter of a configuration -> its enum."""


def build_dag(adapter: Adapter, plan: DagPlan) -> Any:
    """A ``DbtDag``, or an Airflow DAG with ``DbtTaskGroup``s in it.

    :raises Exception: whatever the implementation raises.
    """
    root = import_module(adapter.import_root)
    if not plan.groups:
        return root.DbtDag(**_configurations(adapter, plan), **plan.dag)
    with plain_dag(plan.dag) as dag:
        before, after = (empty_operator()(task_id=task_id) for task_id in (BEFORE, AFTER))
        for group_id in plan.groups:
            group = root.DbtTaskGroup(group_id=group_id, **_configurations(adapter, plan))
            before >> group >> after
    return dag


def shape_of(adapter: Adapter, plan: DagPlan) -> Shape:
    """The DAG's tasks, or what building it raised."""
    os.environ.update(plan.variables)
    if plan.folder is not None:
        os.chdir(plan.folder)
    try:
        dag = adapter.make_dag(plan)
    except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
        return Shape(exception=f"{type(error).__name__}: {error}")
    tasks = dag_shape(dag).data["tasks"]
    downstream: dict[str, list[str]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        for upstream in task["upstream"]:
            downstream[upstream].append(name)
    return Shape(
        tasks={
            name: RenderedTask(operator=task["type"], group=task["group"], downstream=tuple(downstream[name]))
            for name, task in tasks.items()
        }
    )


def plain_dag(arguments: Mapping[str, Any]) -> Any:
    """Airflow's own DAG."""
    dag_class: Any = import_module("airflow").DAG
    return dag_class(**arguments)


def empty_operator() -> Any:
    """Airflow's EmptyOperator, wherever this Airflow has it."""
    try:
        return import_module("airflow.providers.standard.operators.empty").EmptyOperator
    except ImportError:  # Airflow 2
        return import_module("airflow.operators.empty").EmptyOperator


def _configurations(adapter: Adapter, plan: DagPlan) -> dict[str, Any]:
    """The arguments of a DbtDag or DbtTaskGroup, its own configuration classes made of plain data."""
    root = import_module(adapter.import_root)
    project = typed(adapter, plan.project)
    return {
        # By its place, as all examples have it: no page names the parameter.
        "project_config": root.ProjectConfig(project.pop("dbt_project_path"), **project),
        "profile_config": adapter.profile(plan.profile),
        "execution_config": root.ExecutionConfig(**typed(adapter, plan.execution)),
        "render_config": root.RenderConfig(**typed(adapter, plan.render)),
        "operator_args": dict(plan.operator_args),
    }


def typed(adapter: Adapter, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, values of enums made members of the implementation's own."""
    constants = adapter.constants()
    return {name: _member(constants, name, value) for name, value in arguments.items()}


def _member(constants: Any, parameter: str, value: Any) -> Any:
    if parameter not in _ENUMS or value is None:
        return value
    enum: type[Enum] = getattr(constants, _ENUMS[parameter])
    return enum(value)
