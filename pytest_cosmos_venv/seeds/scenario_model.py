"""The model of ready-made scenarios: ``SeedStory``, ``Chapter``, and the sentences of Cosmos's page "Managing seeds".

Each constant quotes one sentence word for word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pytest_cosmos_venv.seeds.scenario import SeedScenario


Level = Literal["must", "should"]
"""``should``: the requirement is our reading of the sentence, for a case that the sentence does not name."""
Steps = Callable[["SeedScenario"], object]
DEFAULT = "By default, Cosmos renders every dbt seed and runs dbt seed on each DAG run."
ALWAYS = "always (default): Cosmos renders the seed and runs dbt seed on every execution."
CHANGED = (
    "when_seed_changes: Cosmos renders the seed, but only runs dbt seed when the seed’s CSV content has changed since "
    "the last successful run."
)
UNCHANGED = "When the content is unchanged, the task succeeds without running dbt seed."
RENDER_ONLY = (
    "render_only: Cosmos renders the seed as a no-op EmptyOperator so it stays visible in the DAG topology and "
    "lineage, but dbt seed is never run."
)
NONE = "none: Cosmos does not render the seed in the DAG/TaskGroup at all."
BEST_EFFORT = "best-effort: if Cosmos cannot compute or read either checksum, it falls back to running the seed"
SHA256 = "The checksum is the SHA256 of the seed’s CSV content, computed from the seed file when available."
BOTH_LOADS = (
    "Computing it from the file (rather than reading dbt’s per-node manifest checksum) keeps change detection "
    "consistent whether the project is loaded via LoadMode.DBT_MANIFEST or LoadMode.DBT_LS."
)
VARIABLE = "The last-seen checksum is persisted as an Airflow Variable […]"
SCOPED = (
    "[…] scoped per DbtDag/DbtTaskGroup and seed, so the same seed rendered in different DAGs tracks its state "
    "independently and one DAG never causes another to skip a seed."
)
FULL_REFRESH = "Passing full_refresh=True always runs the seed, bypassing change detection."
NOT_UPDATED = (
    "This path does not update the persisted checksum, so the next non-full-refresh run may run again to record/update "
    "it."
)
ASSET = (
    "On a run where the seed is skipped because it is unchanged, the task does not emit its Airflow dataset, since no "
    "data was loaded."
)
MODES = (
    "when_seed_changes is only supported for ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV and "
    "ExecutionMode.AIRFLOW_ASYNC […]. Configuring it with any other execution mode raises a CosmosValueError at "
    "DAG-build time."
)
BUILD = (
    "when_seed_changes is incompatible with TestBehavior.BUILD (under BUILD seeds run via dbt build and cannot be "
    "selectively skipped); this combination also raises a CosmosValueError."
)
WATCHER = (
    "Only always is meaningful for the watcher execution mode; none and render_only change only what is rendered, not "
    "whether the underlying dbt build loads the seed."
)


@dataclass(frozen=True, kw_only=True)
class SeedStory:
    """One ready-made scenario; ``cosmos_seeds.play(scenario)`` plays it, and ``str(scenario)`` is its id.

    :param id: the permanent id: never renumbered or reused.
    :param sentence: the sentence of Cosmos's page "Managing seeds" that requires this scenario, word for word.
    :param steps: a function that plays the scenario and checks the outcome after each step.
    :param level: ``must``, or ``should`` for a case that the sentence does not name.
    :param options: the keyword arguments of ``cosmos_seeds(...)``.
    """

    id: str
    sentence: str
    steps: Steps = field(repr=False, compare=False)
    level: Level = "must"
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return self.id


class Chapter:
    """The scenarios of one module, collected by a decorator.

    :param **options: the default options of all scenarios.
    """

    def __init__(self, **options: Any) -> None:
        self.scenarios: list[SeedStory] = []
        self._options = options

    def scenario(self, sentence: str, *, level: Level = "must", **options: Any) -> Callable[[Steps], Steps]:
        """Return a decorator that adds a function as the steps of a scenario; the id is the function's name.

        :param sentence: the sentence that requires it.
        :param level: ``must`` or ``should``.
        :param **options: options of this scenario.
        """

        def add(steps: Steps) -> Steps:
            self.add(steps.__name__.strip("_").replace("_", "-"), sentence, steps, level=level, **options)
            return steps

        return add

    def add(self, name: str, sentence: str, steps: Steps, *, level: Level = "must", **options: Any) -> None:
        """Add a scenario.

        :param name: the id of the scenario.
        :param sentence: the sentence that requires it.
        :param steps: a function that plays the scenario.
        :param level: ``must`` or ``should``.
        :param **options: options of this scenario.
        """
        chosen = {**self._options, **options}
        self.scenarios.append(SeedStory(id=name, sentence=sentence, steps=steps, level=level, options=chosen))
