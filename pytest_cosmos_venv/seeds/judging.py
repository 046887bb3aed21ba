"""What came of each seed? Put together from what Airflow says of its task and from dbt's own record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.lookalike.command_line import Invocation
from pytest_cosmos_venv.lookalike.script import SELECTING, node_name
from pytest_cosmos_venv.seeds.outcomes import SeedOutcome
from pytest_cosmos_venv.seeds.places import Place
from pytest_cosmos_venv.seeds.rendering import is_empty, seed_task

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.outcomes import DagOutcome
    from pytest_cosmos_venv.environments.dbt_record import DbtCall

_LOADING = ("seed", "build")
# Airflow's operators hand the context of their task to what they start.
_TASK_VARIABLE = "AIRFLOW_CTX_TASK_ID"


def judge(dag: Any, outcome: DagOutcome, place: Place, seed: str, calls: Sequence[DbtCall]) -> SeedOutcome:
    """What came of one seed in one place.

    :param dag: as it was built.
    :param calls: of dbt, in this run.
    """
    task = seed_task(dag, place, seed)
    task_id = None if task is None else task.task_id
    loading = tuple(call for call in calls if loads(call, seed) and _is_of(call, task_id))
    if task is None:
        return SeedOutcome(seed=seed, place=place, task_id=None, calls=loading)
    seen = outcome.tasks[task.task_id]
    return SeedOutcome(
        seed=seed,
        place=place,
        task_id=task_id,
        is_empty=is_empty(task),
        state=seen.state,
        calls=loading,
        assets=seen.assets,
        downstream={after: outcome.tasks[after].state for after in sorted(task.downstream_task_ids)},
        log=seen.log,
    )


def loads(call: DbtCall, seed: str) -> bool:
    """Whether the call loads this seed, as far as its selection names nodes."""
    if call.command not in _LOADING:
        return False
    selected = [word for value in Invocation(list(call.arguments)).all(*SELECTING) for word in value.split()]
    return not selected or seed in map(node_name, selected)


def _is_of(call: DbtCall, task_id: str | None) -> bool:
    """Where the same seed stands in two places, the call itself says whose it is."""
    named = call.env.get(_TASK_VARIABLE)
    return task_id is None or named in (None, task_id)
