"""The decision whether the dbt of a task may start warm, by the settings, the operator and the place of the task.

``cosmos_venv.dbt.warm.process.WarmStart`` is the launcher that starts it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.dbt.installation import adapters_beside
from cosmos_venv.dbt.native.program import is_native
from cosmos_venv.dbt.warm.process import Program, dbt_program
from cosmos_venv.environments.store import Environment
from cosmos_venv.exceptions import CosmosValueError

CHOICES = ("auto", "off", "require")
TRIED_ADAPTERS = frozenset({"dbt-duckdb", "dbt-postgres"})
"""Adapters whose commands were run in forks by the tests of this project. A library that is forked may hang: after
dbt's entry point is called, no plain process takes over.
"""
_POD_OF_ONE_TASK = "AIRFLOW_IS_K8S_EXECUTOR_POD"


@dataclass(frozen=True, kw_only=True)
class WarmCandidate:
    """The dbt that a server would import.

    :param program: the dbt, and the environment that it stands in.
    :param is_native: whether it is dbt 2, which no server imports.
    :param is_temporary: whether the environment is this run's alone.
    """

    program: Program
    is_native: bool
    is_temporary: bool = False

    @classmethod
    def of_environment(cls, environment: Environment) -> WarmCandidate:
        """Return the dbt of an environment that we have made.

        :param environment: ready, and open for as long as its dbt runs.
        """
        script = environment.script("dbt")
        return cls(
            program=dbt_program(environment.path, script),
            is_native=is_native(script, recorded=environment.engine),
            is_temporary=environment.is_temporary,
        )

    @classmethod
    def of_executable(cls, executable: str) -> WarmCandidate:
        """Return a dbt that somebody else has installed.

        :param executable: its path, which may be a link.
        """
        # A link such as ~/.local/bin/dbt stands outside of the environment whose Python must be forked.
        script = Path(os.path.realpath(executable))
        return cls(program=dbt_program(script.parent.parent, script), is_native=is_native(script))


def warm_choice(given: object, *, setting: str = "virtualenv_warm_dbt") -> str:
    """Return ``auto``, ``off`` or ``require``: the operator's value, else the value of the setting.

    :param given: the argument of the operator; None: the setting counts.
    :param setting: the name of the setting that counts then.
    :raises CosmosValueError: for another value.
    """
    if given is None:
        return str(getattr(settings, setting))
    if not isinstance(given, str) or given not in CHOICES:
        raise CosmosValueError(f"warm_dbt={given!r}: it can be {', '.join(CHOICES)}, or None for the setting.")
    return given


def why_not(candidate: WarmCandidate, *, choice: str, runs_as_another: bool) -> tuple[str, str] | None:
    """Return why the commands of a task must not start warm, as a word for metrics and a text; None: they may.

    :param candidate: the dbt that runs them.
    :param choice: ``auto`` or ``require``.
    :param runs_as_another: whether the task has a ``run_as_user``.
    """
    script = candidate.program.script
    if candidate.is_temporary:
        return "temporary", "its environment is this run's alone"
    if not script.is_file():
        return "files", f"there is no {script}"
    # Nobody would see when the packages beside it change.
    if not (candidate.program.environment / "pyvenv.cfg").is_file():
        return "place", f"{script} stands in no virtual environment"
    if runs_as_another:
        return "user", "the task has a run_as_user"
    # The server would die with the pod, and nobody else would have profited from it.
    if os.environ.get(_POD_OF_ONE_TASK):
        return "pod", "this pod runs no other task"
    if settings.enable_debug_mode:
        return "debug", "enable_debug_mode measures the processes below the task, and a warm dbt is none of them"
    if choice == "auto" and (untried := sorted(adapters_beside(script) - TRIED_ADAPTERS)):
        return "adapter", f"{', '.join(untried)} was not tried in a fork; warm_dbt='require' starts dbt warm with it"
    return None
