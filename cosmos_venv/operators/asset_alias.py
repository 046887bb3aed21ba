"""Which alias has a dbt task, by which Airflow learns the assets that it updates?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv import compat, settings
from cosmos_venv.exceptions import AirflowCompatibilityError

if TYPE_CHECKING:
    from cosmos_venv.operators.local_run import LocalRun

_UPDATING = (("build",), ("run",), ("seed",), ("snapshot",))
"""The commands that give assets. A test, or a look at the age of a source, updates nothing."""


def gives_assets(operator: LocalRun) -> bool:
    """Whether this task gives the assets of the dbt nodes that it runs."""
    return bool(operator.emit_datasets) and tuple(operator.base_cmd) in _UPDATING


def alias_name(operator: LocalRun) -> str:
    """The name of the task's alias, as in Cosmos: its DAG, its innermost group, itself. Outer groups are left out."""
    dag, group = operator.get_dag(), operator.task_group
    parts = (
        dag.dag_id if dag else None,
        group.group_id.rpartition(".")[2] if group and group.group_id else None,
        operator.task_id.rpartition(".")[2],
    )
    return "__".join(part for part in parts if part)


def declare_alias(operator: LocalRun) -> None:
    """While the DAG is parsed: let the alias stand among the task's outlets, where Airflow wants to know it then."""
    if not compat.ASSETS_NEED_AN_ALIAS and gives_assets(operator) and settings.enable_dataset_alias:
        compat.add_outlets(operator, [compat.asset_alias(alias_name(operator))])


def require_alias(operator: LocalRun) -> None:
    """Before dbt runs: :raises AirflowCompatibilityError: when aliases are turned off where there is no other way."""
    if compat.ASSETS_NEED_AN_ALIAS and gives_assets(operator) and not settings.enable_dataset_alias:
        raise AirflowCompatibilityError(
            "[cosmos] enable_dataset_alias = False, and Airflow 3 takes assets of a running task by an alias only. "
            "Drop the setting, or say RenderConfig(emit_datasets=False), emit_datasets=False of an operator."
        )
