"""The values of one dbt run of a task, and the start of its commands.

``DbtRun`` holds what is known before dbt is prepared, ``DbtCommand`` one command that is ready to be started. The order
of events is ``run_steps.run_in_workspace``. ``start`` goes through the operator's method ``run_subprocess``, which
calls ``run_process`` here. A command is started by one of two launchers: a guard (``GuardedProcess``), or a warm server
(``WarmStart``).

Operators import this module when a task runs, not while a DAG file is parsed, which happens far more often.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import credentials, settings
from cosmos_venv.compat import AirflowException, AirflowSkipException, count
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt import invocation
from cosmos_venv.dbt.command import FullOutputSubprocessResult, advice_about_option, asks_for_debug, shown_command
from cosmos_venv.dbt.invocation import DbtRunnerResult
from cosmos_venv.dbt.log_lines import NodeEvent, logged_text, node_event
from cosmos_venv.dbt.native.output import LEAVES, undone
from cosmos_venv.dbt.native.program import dbt_2_command_line
from cosmos_venv.dbt.results import Artifacts, failure_text
from cosmos_venv.dbt.warm.process import WarmStart
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.io import map_index
from cosmos_venv.operators.run import warm_start

if TYPE_CHECKING:
    from airflow.sdk import Context

DbtResult = FullOutputSubprocessResult | DbtRunnerResult
Judge = Callable[[DbtResult, Artifacts], object]
"""Raises when an ended command has failed."""


class DbtNotStarted(AirflowException):
    """No dbt could be started, so nothing of the command has run."""


@dataclass(frozen=True, kw_only=True)
class DbtRun:
    """One dbt run of a task, with what is known before dbt is prepared.

    :param task: the operator.
    :param context: Airflow's context of the task.
    :param command: the command line without the flags of the place where dbt runs. The first word is the executable as
        it was given; ``executable`` is where the worker finds it.
    :param env: the environment variables for dbt, without those of the profile.
    :param on_node: called with each event of a node, as soon as dbt reports it, and with dbt's target folder. dbt as a
        process then writes JSON, and the log still shows text. None: nothing is called.
    :param on_tick: called every second while a dbt that is a process runs; None: nothing is.
    :param starts: how its commands were started, each noted when it starts: ``warm``, ``runner`` (in this process), or
        ``process``, which may have the reason why it did not start warm.
    """

    task: Any
    context: Context | Mapping[str, Any]
    command: Sequence[str]
    env: Mapping[str, str] = field(repr=False)  # secrets may be in it
    on_node: Callable[[NodeEvent, Path], None] | None = None
    on_tick: Callable[[], None] | None = None
    starts: list[str] = field(default_factory=list)

    @cached_property
    def executable(self) -> str:
        """The worker's dbt, as a whole path where the worker finds one. An operator with an environment starts the dbt
        of the environment instead (``DbtVirtualenvBaseOperator.run_subprocess``).
        """
        return invocation.found_executable(self.command[0])

    @cached_property
    def mode(self) -> InvocationMode:
        """How dbt is started."""
        return invocation.chosen_mode(self.task.invocation_mode, self.executable)

    @cached_property
    def warm_choice(self) -> str:
        """``auto``, ``off`` or ``require``."""
        return warm_start.warm_choice(self.task.warm_dbt, setting=self.task.warm_setting)

    @property
    def how_started(self) -> str:
        """How the last command was started, in a word or two; empty when none was started."""
        return self.starts[-1] if self.starts else ""

    @property
    def task_key(self) -> tuple[str, ...]:
        """The names that tell the task from others: DAG, task, index of a mapped task, target of the profile."""
        task = self.task
        return (task.dag_id, task.task_id, *map_index(self.context), task.profile_config.target_name)

    def count_start(self, how: str) -> None:
        """Note how a command starts, and count it in Airflow's metrics. The log has the reason of a cold start already.

        :param how: ``warm``, ``runner``, ``process``, or the reason why a process did not start warm.
        :raises NotWarm: when dbt must start warm, but runs in this process, where each task has to import it.
        """
        self.starts.append(how if how in ("warm", "runner", "process") else f"process ({how})")
        if self.warm_choice == "off":
            return
        tags = {"dag_id": self.task.dag_id, "task_id": self.task.task_id}
        if how == "warm":
            self.task.log.info("dbt starts warm: it is forked from a process that has imported it.")
            count("cosmos_venv.dbt.warm", tags)
            return
        count("cosmos_venv.dbt.cold", {**tags, "reason": how})
        if how == "runner" and self.warm_choice == "require":
            raise NotWarm("runner", "with DBT_RUNNER the task imports dbt itself; SUBPROCESS can start warm")


@dataclass(frozen=True, kw_only=True)
class DbtCommand:
    """One command of a run, ready to be started: ``dbt deps``, ``dbt source freshness``, or the task's own.

    :param words: the whole command line.
    :param place: the workspace, in which it runs.
    :param profiles_yml: the file of its profile.
    :param env: its environment variables, the profile's secrets among them.
    :param keep_open: file descriptors that the command holds until its last process is gone.
    :param artifacts: the artifacts that it will leave.
    :param base_cmd: its sub-command, such as ``("source", "freshness")``.
    """

    words: list[str]
    place: Path
    profiles_yml: Path
    env: dict[str, str] = field(repr=False)
    keep_open: tuple[int, ...]
    artifacts: Artifacts
    base_cmd: tuple[str, ...]


def start(run: DbtRun, command: DbtCommand) -> DbtResult:
    """Start one command of a run, and wait for its end.

    The operator's ``run_subprocess`` or ``run_dbt_runner`` runs the command, since a user's class may replace both. The
    launcher and the leases come to ``run_process`` by the operator's attribute ``_launch``: Cosmos's methods have no
    parameter for these.

    :param run: the run that the command is a part of.
    :param command: the command to start, with the flags of dbt 1.
    :raises DbtNotStarted: when no dbt could be started, or dbt must start warm and cannot.
    :raises AirflowException: when dbt has done nothing.
    """
    task = run.task
    vars(task)["_artifacts"] = command.artifacts
    listeners: dict[str, Any] = {}
    on_node, target = run.on_node, command.artifacts.target
    if on_node is not None and command.base_cmd == tuple(task.base_cmd):
        listeners["on_node"] = lambda event: on_node(event, target)
    try:
        if run.mode is InvocationMode.DBT_RUNNER:
            run.count_start("runner")
            return _call(task.run_dbt_runner, run, command, command.words, listeners)
        candidate = task._warm_candidate(run.executable)  # also for a plain process: dbt 2 has other flags
        if listeners and run.on_tick is not None:
            listeners["on_tick"] = run.on_tick
        words = dbt_2_command_line(command.words) if candidate.is_native else command.words
        launch = {"keep_open": command.keep_open, **_launcher(run, candidate), **listeners}
        found = _call(task.run_subprocess, run, command, words, launch)
    except NotWarm as error:
        raise DbtNotStarted(
            f"dbt cannot start warm: {error}, and warm_dbt or [cosmos_venv] {task.warm_setting} is 'require'. With "
            "'auto' it starts as a plain process then."
        ) from None
    refuse_undone(command, found, is_native=candidate.is_native)
    return found


def _call(
    method: Callable[..., DbtResult], run: DbtRun, command: DbtCommand, words: list[str], launch: Mapping[str, Any]
) -> DbtResult:
    """Call a method of the operator with the keywords that Cosmos uses: a user's class may replace the method.

    :param launch: the keyword arguments of ``run_process`` that such a method need not know of.
    """
    attributes = vars(run.task)
    before = attributes.get("_launch")  # set where a user's method is at work and runs another command of the operator
    attributes["_launch"] = launch
    try:
        return method(command=words, env=command.env, cwd=str(command.place), context=run.context)
    finally:
        attributes["_launch"] = before


def left_by(task: Any) -> Artifacts:
    """The artifacts of the last command of a task; empty artifacts if a user's class has run dbt in its own way.

    :param task: the operator.
    """
    found: Artifacts | None = task._artifacts
    return found or Artifacts(target=Path(os.devnull))


def refuse_undone(command: DbtCommand, result: DbtResult, *, is_native: bool) -> None:
    """Raise where dbt has ended with exit code 0 and done nothing.

    :param command: the command that was started.
    :param result: the result of the command.
    :param is_native: whether its dbt is dbt 2, which may end with exit code 0 for a command that it does not have.
    :raises AirflowException: with dbt's own message.
    """
    if getattr(result, "exit_code", 1):  # a user's class may return any object
        return
    leaves = LEAVES.get(command.base_cmd[0]) if is_native else None
    lacks = leaves if leaves and command.artifacts.text(leaves) is None else None
    # Also where ``is_native`` is False: a dbt 2 that a script starts is not recognised as native.
    message = undone(command.base_cmd, getattr(result, "full_output", ()), lacks=lacks)
    if message:
        raise AirflowException(message)


def _launcher(run: DbtRun, candidate: warm_start.WarmCandidate) -> dict[str, Any]:
    """The argument ``launcher`` for ``run_subprocess``; nothing where commands are plain processes.

    :param run: the run that a command is a part of.
    :param candidate: the dbt that a server would import.
    """
    if run.warm_choice == "off":
        run.count_start("process")
        return {}
    if candidate.is_native:  # no server can import it, and it starts as fast without a server
        run.count_start("native")
        return {}
    task = run.task
    warm = WarmStart(
        program=candidate.program,
        idle=settings.virtualenv_warm_dbt_idle,
        most=settings.virtualenv_warm_dbt_max,
        cancellation=task._cancellation,
        report=task.log.info,
        count=run.count_start,
        refuses=warm_start.why_not(candidate, choice=run.warm_choice, runs_as_another=bool(task.run_as_user)),
        is_required=run.warm_choice == "require",
    )
    return {"launcher": warm}


def run_process(
    task: Any,
    command: list[str],
    env: Mapping[str, str],
    cwd: str,
    *,
    on_node: Callable[[NodeEvent], None] | None = None,
    **launch: Any,
) -> FullOutputSubprocessResult:
    """Run one dbt command as a process to its end, its lines streaming into the task's log.

    :param task: the operator.
    :param command: the command line.
    :param env: all environment variables of the process.
    :param cwd: the folder in which it runs.
    :param on_node: gets each event of a node, where dbt writes JSON; the log gets text. None: lines are logged as they
        come.
    :param **launch: of ``invocation.run_dbt``.
    :raises DbtNotStarted: when the executable cannot be started.
    """
    log = task.log
    with_debug = asks_for_debug(command, env)

    def log_line(line: str) -> None:
        if on_node is not None:
            if (event := node_event(line)) is not None:
                on_node(event)
            text = logged_text(line, with_debug=with_debug)
            if text is None:
                return
            line = text
        # dbt deps names the addresses of packages. The lines of other commands may be data, which must not change.
        log.info(credentials.mask(line) if "deps" in command else line)

    log.info("Running %s", shown_command(command))
    log.debug("The whole command: %s", shlex.join(command))
    try:
        result = invocation.run_dbt(
            command,
            env=env,
            cwd=Path(cwd),
            on_line=log_line,
            cancellation=task._cancellation,
            encoding=task.output_encoding,
            interrupts=task.cancel_query_on_kill,
            **launch,
        )
    except OSError as error:
        if error.filename != command[0]:  # the error is about the guard, the worker or the folder
            raise
        raise DbtNotStarted(task._why_not_started(command[0], error)) from error
    log.info("Command exited with return code %s", result.exit_code)
    return result


def refuse_failure(task: Any, result: FullOutputSubprocessResult) -> None:
    """Raise where a dbt process failed.

    :param task: the operator, whose last command it was.
    :param result: the result of the process.
    :raises AirflowException: when it failed, with the nodes that failed, and why.
    :raises AirflowSkipException: when it ended with ``skip_exit_code``.
    """
    if task.skip_exit_code is not None and result.exit_code == task.skip_exit_code:
        raise AirflowSkipException(f"dbt command returned exit code {task.skip_exit_code}. Skipping.")
    if result.exit_code:
        lines = getattr(result, "full_output", ())  # a user's class may return any object
        # dbt names the addresses of repositories, some with a password.
        reason = credentials.mask(failure_text(left_by(task), lines=lines))
        reason += task.profile_config.advice_about(reason)
        if advice := advice_about_option(lines):
            reason += f"\n{advice}"
        raise AirflowException(
            f"dbt command failed. The command returned a non-zero exit code {result.exit_code}.\n{reason}"
        )
