"""Which execution modes are there, which of them does this project run, and what does it say of the others?"""

from __future__ import annotations

from cosmos_venv.constants import ExecutionMode, SeedRenderingBehavior
from cosmos_venv.exceptions import CosmosValueError

OFFERED = (ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV)
_NOT_YET = (
    ExecutionMode.AIRFLOW_ASYNC,
    ExecutionMode.WATCHER,
    ExecutionMode.WATCHER_GCP_GKE,
    ExecutionMode.WATCHER_KUBERNETES,
)
# Where Cosmos looks at seeds' content.
_KNOWING_CHANGED_SEEDS = (*OFFERED, ExecutionMode.AIRFLOW_ASYNC)

_INSTEAD = (
    "Use ExecutionMode.VIRTUALENV, in which each project has a dbt of its own on the worker, or ExecutionMode.LOCAL."
)


def refuse_mode(mode: ExecutionMode, seed_rendering_behavior: SeedRenderingBehavior) -> None:
    """Raises for a mode in which nothing can run here. What contradicts itself in any case is said first.

    :raises CosmosValueError: names the mode, what it does not go with, and what there is instead.
    """
    if mode in OFFERED:
        return
    if seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES and mode not in _KNOWING_CHANGED_SEEDS:
        raise CosmosValueError(
            f"RenderConfig.seed_rendering_behavior {seed_rendering_behavior} does not go with "
            f"ExecutionConfig.execution_mode {mode}, which cannot skip single seeds. {_INSTEAD}"
        )
    if mode in _NOT_YET:
        raise CosmosValueError(f"ExecutionConfig.execution_mode={mode}: cosmos-venv does not have this yet. {_INSTEAD}")
    raise CosmosValueError(
        f"ExecutionConfig.execution_mode={mode}: cosmos-venv runs dbt on Airflow's workers and in no container or "
        f"cloud service. {_INSTEAD}"
    )
