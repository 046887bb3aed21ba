"""May dbt of a managed environment start warm? What the settings, the operator and the place of the task say."""

from __future__ import annotations

import os
from collections.abc import Callable

from cosmos_venv import settings
from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.environments.environment import Environment
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.guarded import Cancellation

CHOICES = ("auto", "off", "require")
_POD_OF_ONE_TASK = "AIRFLOW_IS_K8S_EXECUTOR_POD"


def warm_choice(given: str | None) -> str:
    """``auto``, ``off`` or ``require``: the operator's word, else that of the settings.

    :raises CosmosValueError: for another word.
    """
    if given is None:
        return settings.virtualenv_warm_dbt
    if given not in CHOICES:
        raise CosmosValueError(f"warm_dbt={given!r}: it can be {', '.join(CHOICES)}, or None for the setting.")
    return given


def warm_start(
    environment: Environment,
    *,
    choice: str,
    keeps_project: bool | None = None,
    runs_as_another: bool,
    cancellation: Cancellation,
    report: Callable[[str], None],
    count: Callable[[str], None],
) -> WarmStart | None:
    """What starts the commands of a task in this environment; None: plain processes.

    :param choice: as ``warm_choice`` gives it.
    :param keeps_project: whether its server may keep the parsed project; None: as the settings say.
    :param runs_as_another: whether the task has a ``run_as_user``.
    :param report: gets a line where a command does not start warm.
    :param count: gets ``warm``, or the reason why not.
    """
    if choice == "off":
        return None
    return WarmStart(
        program=dbt_program(environment.path, environment.script("dbt")),
        idle=settings.virtualenv_warm_dbt_idle,
        most=settings.virtualenv_warm_dbt_max,
        cancellation=cancellation,
        report=report,
        count=count,
        refuses=_why_not(environment, runs_as_another=runs_as_another),
        is_required=choice == "require",
        keeps_project=settings.virtualenv_warm_dbt_keeps_project if keeps_project is None else keeps_project,
    )


def _why_not(environment: Environment, *, runs_as_another: bool) -> tuple[str, str] | None:
    if environment.is_temporary:
        return "temporary", "its environment is this run's alone"
    if runs_as_another:
        return "user", "the task has a run_as_user"
    if os.environ.get(_POD_OF_ONE_TASK):
        return "pod", "this pod runs no other task"
    if settings.enable_debug_mode:
        return "debug", "enable_debug_mode measures the processes below the task, and a warm dbt is none of them"
    return None
