"""A scenario of ExecutionMode.WATCHER as plain data: what dbt does, and what must come of the run.

Nodes stand under their names. ``staging`` is the task that shows the model of that name, ``staging.test`` the one that
shows its tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.rules import check_command

State = Literal["success", "failed"]


@dataclass(frozen=True, kw_only=True)
class WatcherScenario:
    """One scenario; ``cosmos_watcher_scenario(scenario)`` runs it, and ``str(scenario)`` is its id.

    :param id: the id, which is for ever: never renumbered or reused.
    :param sentence: what is required, in one sentence.
    :param reported: numbers of the issues of astronomer-cosmos in which users have told of its opposite.
    :param dbt: the scripts of the fake dbt, each the arguments of ``cosmos_fake_venv.script``. Default: all succeeds.
    :param retries: the ``retries`` of all tasks.
    :param producer_retries: the ``retries`` of the producer; None: those of all tasks.
    :param is_producer_late: whether a later try of the producer comes after all that other tasks can do before it, as
        with a long ``retry_delay``; False: it comes before them.
    :param test_behavior: a name of ``TestBehavior``.
    :param seeds: a name of ``SeedRenderingBehavior``.
    :param exclude: the nodes that the DAG leaves out, as ``RenderConfig.exclude`` has them.
    :param operator_args: the ``operator_args``.
    :param is_behind_failure: whether the project is a DbtTaskGroup behind a task that fails; else it is a DbtDag.
    :param run: the state of the run; None: either.
    :param success: the tasks that must succeed.
    :param failed: the tasks that must fail.
    :param not_success: the tasks that must not succeed; one that is not there does not either.
    :param absent: the nodes that must have no task.
    :param built: name of a node or a test -> how often dbt has to build it with success, over all calls.
    :param told: the words that each call of dbt that builds or tests something must have.
    :param not_called: the commands that dbt must not be called with, such as ``test``.
    """

    id: str
    sentence: str
    reported: Sequence[str] = ()
    dbt: Sequence[Mapping[str, Any]] = ()
    retries: int = 0
    producer_retries: int | None = None
    is_producer_late: bool = False
    test_behavior: str = "none"
    seeds: str = "always"
    exclude: Sequence[str] = ()
    operator_args: Mapping[str, Any] = field(default_factory=dict)
    is_behind_failure: bool = False
    run: State | None = None
    success: Sequence[str] = ()
    failed: Sequence[str] = ()
    not_success: Sequence[str] = ()
    absent: Sequence[str] = ()
    built: Mapping[str, int] = field(default_factory=dict)
    told: Sequence[str] = ()
    not_called: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.run not in (None, "success", "failed"):
            raise ToolkitMisuse(f"run={self.run!r}: give 'success', 'failed' or None.")
        for name in ("reported", "dbt", "exclude", "success", "failed", "not_success", "absent", "told", "not_called"):
            value = getattr(self, name)
            if isinstance(value, (str, Mapping)):
                raise ToolkitMisuse(f"{name}={value!r}: give a tuple, such as ({value!r},).")

        if not isinstance(self.built, Mapping):
            raise ToolkitMisuse(f"built={self.built!r}: give a dictionary, such as {{'mart': 1}}.")
        for command in self.not_called:
            check_command(command)

    def __str__(self) -> str:
        return self.id
