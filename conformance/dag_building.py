"""How does a DAG come of a plan? By the public classes of an implementation with Cosmos's import layout."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .rendering import configurations

if TYPE_CHECKING:
    from .adapter import Adapter, DagPlan


def build_dag(adapter: Adapter, plan: DagPlan) -> Any:
    """A ``DbtDag``, or an Airflow DAG with a ``DbtTaskGroup`` in it.

    :raises Exception: whatever the implementation raises.
    """
    root = import_module(adapter.import_root)
    given = configurations(adapter, plan)
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
