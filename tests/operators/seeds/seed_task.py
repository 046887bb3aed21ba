"""The task that loads the seed of the small project when it has changed, and what is remembered of the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cosmos_venv.operators.local import DbtSeedLocalOperator
from cosmos_venv.operators.seeds.seed_state import Scope, decoded
from tests.kit import operator_arguments

SEED = "seed.harbor.piers"


def seed_arguments(project: Path, **more: Any) -> dict[str, Any]:
    """Return the arguments of the task in any mode, with ``more`` beside or instead of them."""
    context = {
        "dbt_node_config": {"unique_id": SEED, "original_file_path": "seeds/piers.csv"},
        "package_name": "harbor",
        "should_run_if_seed_changed": True,
    }
    return operator_arguments(project, task_id="piers_seed", extra_context=context) | more


def seed_task(project: Path, dbt: Path, **more: Any) -> DbtSeedLocalOperator:
    """Return the task in local mode."""
    return DbtSeedLocalOperator(**seed_arguments(project, dbt_executable_path=dbt, **more))


def remembered(variables: Path, operator: DbtSeedLocalOperator) -> str | None:
    """The checksum; None where there is none, or it is not certain."""
    path = variables / Scope.of(operator.dag_id, operator.task_group, {}, SEED).key
    found = decoded(path.read_text() if path.exists() else None)
    return None if found is None else found.checksum
