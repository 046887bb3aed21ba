"""How does a DAG of a dbt project come about, as a DAG file builds it? Of plain data, and as plain data it is seen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv import dag_shape

if TYPE_CHECKING:
    from .adapter import Adapter, DagPlan, Rendering, Shape

BEFORE, AFTER = "before", "after"
"""Ids of the ordinary tasks around task groups."""
_START = datetime(2026, 1, 1, tzinfo=timezone.utc)
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


def shape_of(adapter: Adapter, rendering: Rendering) -> Shape:
    """The DAG's tasks, or what building it raised."""
    from .adapter import RenderedTask, Shape

    os.environ.update(rendering.variables)
    try:
        dag = build(adapter, rendering)
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


def build(adapter: Adapter, rendering: Rendering) -> Any:
    """The DAG, of public names of Cosmos's layout."""
    root = import_module(adapter.import_root)
    dag = {"dag_id": "conformance", "schedule": None, "start_date": _START, **rendering.dag}
    if not rendering.groups:
        return root.DbtDag(**configurations(adapter, rendering), **dag)
    dag_class: Any = import_module("airflow").DAG
    with dag_class(**dag) as made:
        before, after = (empty_operator()(task_id=task_id) for task_id in (BEFORE, AFTER))
        for group_id in rendering.groups:
            group = root.DbtTaskGroup(group_id=group_id, **configurations(adapter, rendering))
            before >> group >> after
    return made


def configurations(adapter: Adapter, rendering: Rendering | DagPlan) -> dict[str, Any]:
    """The arguments of a DbtDag or DbtTaskGroup, its own configuration classes made of plain data."""
    config = import_module(f"{adapter.import_root}.config")
    return {
        "project_config": config.ProjectConfig(**_typed(adapter, rendering.project)),
        "profile_config": adapter.profile(rendering.profile),
        "execution_config": config.ExecutionConfig(**_typed(adapter, rendering.execution)),
        "render_config": config.RenderConfig(**_typed(adapter, rendering.render)),
        "operator_args": dict(rendering.operator_args),
    }


def _typed(adapter: Adapter, arguments: Mapping[str, Any]) -> dict[str, Any]:
    constants = import_module(f"{adapter.import_root}.constants")
    return {name: _member(constants, name, value) for name, value in arguments.items()}


def _member(constants: Any, parameter: str, value: Any) -> Any:
    if parameter not in _ENUMS or value is None:
        return value
    enum: type[Enum] = getattr(constants, _ENUMS[parameter])
    return enum(value)


def empty_operator() -> Any:
    """Airflow's EmptyOperator, wherever this Airflow has it."""
    try:
        return import_module("airflow.providers.standard.operators.empty").EmptyOperator
    except ImportError:  # Airflow 2
        return import_module("airflow.operators.empty").EmptyOperator
