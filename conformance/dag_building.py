"""How does a DAG come of a plan? By the public classes of an implementation with Cosmos's import layout."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapter import Adapter, DagPlan

_ENUMS = {
    "execution_mode": "ExecutionMode",
    "invocation_mode": "InvocationMode",
    "load_method": "LoadMode",
    "seed_rendering_behavior": "SeedRenderingBehavior",
    "source_rendering_behavior": "SourceRenderingBehavior",
    "test_behavior": "TestBehavior",
    "test_indirect_selection": "TestIndirectSelection",
}
"""Argument -> the enum of ``constants`` whose member it takes."""


def build_dag(adapter: Adapter, plan: DagPlan) -> Any:
    """A ``DbtDag``, or an Airflow DAG with a ``DbtTaskGroup`` in it.

    :raises Exception: whatever the implementation raises.
    """
    root = import_module(adapter.import_root)
    config = import_module(f"{adapter.import_root}.config")
    given = {
        "project_config": config.ProjectConfig(**plan.project),
        "profile_config": adapter.profile(plan.profile),
        "execution_config": config.ExecutionConfig(**_with_members(adapter, plan.execution)),
        "render_config": config.RenderConfig(**_with_members(adapter, plan.render)),
        "operator_args": dict(plan.operator_args),
    }
    if plan.group is None:
        return root.DbtDag(**given, **plan.dag)
    with plain_dag(plan.dag) as dag:
        root.DbtTaskGroup(group_id=plan.group, **given)
    return dag


def plain_dag(arguments: Mapping[str, Any]) -> Any:
    """Airflow's own DAG."""
    from airflow import DAG

    dag_class: Any = DAG
    return dag_class(**arguments)


def _with_members(adapter: Adapter, arguments: Mapping[str, Any]) -> dict[str, Any]:
    constants = import_module(f"{adapter.import_root}.constants")
    return {
        name: getattr(constants, _ENUMS[name])(value) if name in _ENUMS else value for name, value in arguments.items()
    }
