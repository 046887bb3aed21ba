"""``ExecutionConfig``, the way in which dbt runs, and the execution modes on offer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

from cosmos_venv.config.validation import NamedArguments, as_path, member, system_dbt, texts
from cosmos_venv.constants import ExecutionMode, InvocationMode, SeedRenderingBehavior, TestIndirectSelection
from cosmos_venv.exceptions import CosmosValueError

logger = logging.getLogger(__name__)

OFFERED = (ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV, ExecutionMode.WATCHER, ExecutionMode.AIRFLOW_ASYNC)
"""The modes in which dbt runs here."""

# The modes in which each node has a dbt command of its own, so that a single seed can be skipped.
_WITHOUT_PRODUCER = (ExecutionMode.LOCAL, ExecutionMode.VIRTUALENV, ExecutionMode.AIRFLOW_ASYNC)

# The modes in which dbt runs as in LOCAL or as in VIRTUALENV, depending on other arguments.
_WITH_EITHER_DBT = (ExecutionMode.WATCHER, ExecutionMode.AIRFLOW_ASYNC)

_INSTEAD = (
    "Use ExecutionMode.VIRTUALENV, in which each project has a dbt of its own on the worker, or ExecutionMode.LOCAL."
)


def refuse_mode(mode: ExecutionMode, seed_rendering_behavior: SeedRenderingBehavior) -> None:
    """Refuse a mode in which nothing can run here. A mode that does not go with the seeds' behavior is reported first.

    :param mode: ``ExecutionConfig.execution_mode``.
    :param seed_rendering_behavior: ``RenderConfig.seed_rendering_behavior``, which some modes do not go with.
    :raises CosmosValueError: names the mode, what it does not go with, and what there is instead.
    """
    if seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES and mode not in _WITHOUT_PRODUCER:
        raise CosmosValueError(
            f"RenderConfig.seed_rendering_behavior {seed_rendering_behavior} does not go with "
            f"ExecutionConfig.execution_mode {mode}, which cannot skip single seeds. {_INSTEAD}"
        )
    if mode not in OFFERED:
        raise CosmosValueError(
            f"ExecutionConfig.execution_mode={mode}: cosmos-venv runs dbt on Airflow's workers and in no container or "
            f"cloud service. {_INSTEAD}"
        )


@dataclass
class ExecutionConfig(NamedArguments):
    """The way in which dbt runs, and the place.

    :param execution_mode: LOCAL (an installed dbt), VIRTUALENV (an environment that is made and kept), WATCHER (one dbt
        build for all nodes, in an environment where ``py_requirements`` or ``virtualenv_dir`` is given, else by an
        installed dbt) or AIRFLOW_ASYNC (each model is a query of BigQuery that no worker waits for). Cosmos's other
        modes are accepted here, and refused when a DAG is built.
    :param invocation_mode: how dbt is started: as a process of its own, or (LOCAL) in the worker's process; None: the
        default of the mode's operators.
    :param test_indirect_selection: dbt's ``--indirect-selection`` of test and build tasks.
    :param dbt_executable_path: the dbt of LOCAL mode, and of WATCHER without an environment.
    :param install_dbt_deps: whether tasks run ``dbt deps``; may be a Jinja template; None: as in ProjectConfig.
    :param dbt_project_path: the project's folder for tasks, where it is not that of ProjectConfig; kept as
        ``project_path``.
    :param virtualenv_dir: VIRTUALENV, WATCHER and AIRFLOW_ASYNC: where environments are kept; None: each task makes a
        temporary environment, and ``dbt ls`` runs in an environment that is kept below ``[cosmos_venv] cache_dir``.
    :ivar project_path: ``dbt_project_path``; None: it was not given.
    :param async_py_requirements: AIRFLOW_ASYNC: pip requirements of the environment in which dbt compiles the models
        and runs everything else, such as ``["dbt-core~=1.11.0", "dbt-bigquery"]``; ``[]``: the dbt of
        ``dbt_executable_path`` does that. The parameter is required where a task compiles models.
    :param setup_operator_args: WATCHER: arguments of the producer alone, which override ``operator_args``; among them
        ``freshness_callback``, which may leave nodes out of the build.
    :raises CosmosValueError: for a mode or combination that cannot be.
    """

    execution_mode: ExecutionMode = ExecutionMode.LOCAL
    invocation_mode: InvocationMode | None = None
    test_indirect_selection: TestIndirectSelection = TestIndirectSelection.EAGER
    dbt_executable_path: str | Path = field(default_factory=system_dbt)
    install_dbt_deps: bool | str | None = None
    dbt_project_path: InitVar[str | Path | None] = None
    virtualenv_dir: str | Path | None = None
    async_py_requirements: list[str] | None = None
    setup_operator_args: dict[str, Any] | None = None
    project_path: Path | None = field(init=False)

    def __post_init__(self, dbt_project_path: str | Path | None) -> None:
        owner = "ExecutionConfig"
        self.execution_mode = member(ExecutionMode, self.execution_mode, f"{owner}.execution_mode")
        self.test_indirect_selection = member(
            TestIndirectSelection, self.test_indirect_selection, f"{owner}.test_indirect_selection"
        )
        if self.invocation_mode is not None:
            self.invocation_mode = member(InvocationMode, self.invocation_mode, f"{owner}.invocation_mode")
        self._check_invocation_mode()
        if self.async_py_requirements is not None:
            self.async_py_requirements = texts(self.async_py_requirements, f"{owner}.async_py_requirements")
            # Other modes are refused themselves, when a DAG is built.
            if self.execution_mode in OFFERED and self.execution_mode is not ExecutionMode.AIRFLOW_ASYNC:
                raise CosmosValueError(
                    f"{owner}.async_py_requirements={self.async_py_requirements!r} is for ExecutionMode.AIRFLOW_ASYNC, "
                    f"and this is {self.execution_mode}. Give operator_args={{'py_requirements': [...]}}."
                )
        if self.setup_operator_args and self.execution_mode in _WITHOUT_PRODUCER:
            raise CosmosValueError(
                f"{owner}.setup_operator_args={self.setup_operator_args!r} is for the producer of "
                f"ExecutionMode.WATCHER, and this is {self.execution_mode}. Give the arguments as operator_args."
            )
        if isinstance(self.virtualenv_dir, str) and not self.virtualenv_dir.strip():
            raise CosmosValueError(
                f"{owner}.virtualenv_dir={self.virtualenv_dir!r} is empty. Name a folder, or leave it out: each task "
                "then gets a temporary environment."
            )
        self.project_path = as_path(dbt_project_path)
        if self.execution_mode is ExecutionMode.VIRTUALENV:
            self.invocation_mode = InvocationMode.SUBPROCESS
        elif self.virtualenv_dir is not None and (
            self.async_py_requirements == [] or self.execution_mode not in _WITH_EITHER_DBT
        ):
            logger.warning(
                "ExecutionConfig.virtualenv_dir %s is ignored: in %s%s no dbt runs in an environment.",
                self.virtualenv_dir,
                self.execution_mode,
                " with async_py_requirements=[]" if self.async_py_requirements == [] else "",
            )

    def dbt_mode(self, operator_args: Mapping[str, object]) -> ExecutionMode:
        """The mode in which dbt itself runs: LOCAL or VIRTUALENV, also for the tasks of WATCHER and AIRFLOW_ASYNC.

        :param operator_args: arguments of all tasks, which may require packages.
        """
        if self.execution_mode not in _WITH_EITHER_DBT:
            return self.execution_mode
        if self.execution_mode is ExecutionMode.AIRFLOW_ASYNC:
            is_managed = bool(self.async_py_requirements)
        else:
            is_managed = bool(operator_args.get("py_requirements")) or self.virtualenv_dir is not None
        return ExecutionMode.VIRTUALENV if is_managed else ExecutionMode.LOCAL

    def producer_dbt_mode(self, operator_args: Mapping[str, object]) -> ExecutionMode:
        """The mode in which the producer of WATCHER runs dbt: LOCAL or VIRTUALENV.

        :param operator_args: arguments of all tasks; ``setup_operator_args`` override them.
        """
        return self.dbt_mode({**operator_args, **(self.setup_operator_args or {})})

    def _check_invocation_mode(self) -> None:
        if self.invocation_mode is InvocationMode.DBT_RUNNER and self.execution_mode is ExecutionMode.VIRTUALENV:
            raise CosmosValueError(
                "ExecutionConfig.invocation_mode InvocationMode.DBT_RUNNER does not go with ExecutionMode.VIRTUALENV: "
                "dbt is not in the worker's own Python. Leave invocation_mode out, or give InvocationMode.SUBPROCESS."
            )
