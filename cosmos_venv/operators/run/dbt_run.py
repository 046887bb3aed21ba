"""DbtRun, which describes one dbt run of a task, and ``run_dbt_task``, which runs it.

A run happens in a workspace of its own, with a profile made for it; ``dbt deps`` comes first where that is wanted. What
users of Cosmos override stands in ``DbtLocalBaseOperator`` and comes here as ``RunHooks``: this module never sees the
operator.

Operators import this module when a task runs, not while a DAG file is parsed, which happens far more often.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import credentials
from cosmos_venv.compat import AirflowException, AirflowSkipException, count, to_boolean
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt import invocation
from cosmos_venv.dbt.command import (
    FullOutputSubprocessResult,
    advice_about_option,
    asks_for_debug,
    selection_in_file,
    shown_command,
    vars_flags,
)
from cosmos_venv.dbt.invocation import DbtRunnerResult
from cosmos_venv.dbt.log_lines import NodeEvent, logged_text, node_event
from cosmos_venv.dbt.native.output import LEAVES, undone
from cosmos_venv.dbt.native.program import dbt_2_command_line, download_warning
from cosmos_venv.dbt.project_files import has_packages
from cosmos_venv.dbt.results import Artifacts, failure_text
from cosmos_venv.dbt.workspace import (
    Outputs,
    descriptors_of,
    downloading_in_place,
    named_folders,
    require_project,
    workspace,
)
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.io import map_index
from cosmos_venv.managed import project_cache
from cosmos_venv.operators.run import post_run, warm_start
from cosmos_venv.operators.run.reported_nodes import refuse_unreported
from cosmos_venv.processes import scratch
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import started_ahead

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.native.engine import Engine
    from cosmos_venv.dbt.packages import ProjectPackages
    from cosmos_venv.dbt.partial_parse import ParsedProject
    from cosmos_venv.operators.run.post_run import Outcome, PostRunOptions, TaskUpdates

DbtResult = FullOutputSubprocessResult | DbtRunnerResult


class DbtNotStarted(AirflowException):
    """No dbt could be started, so nothing of the command has run."""


@dataclass(frozen=True, kw_only=True)
class WarmOptions:
    """Whether commands may be forked from a process that has imported dbt.

    :param choice: ``auto``, ``off`` or ``require``.
    :param setting: the option of ``[cosmos_venv]`` that counts where the operator says nothing, for messages.
    :param runs_as_another: whether the task has a ``run_as_user``.
    """

    choice: str
    setting: str
    runs_as_another: bool


@dataclass(frozen=True, kw_only=True)
class DbtRun:
    """One dbt run of a task, as far as it is known before its dbt is there.

    :param dag_id: id of the task's DAG, as Airflow's metrics have it.
    :param task_id: id of the task, with the groups around it.
    :param context: Airflow's context of the task.
    :param log: the task's logger.
    :param cancellation: requested when the task is killed.
    :param base_cmd: dbt's sub-command, such as ``("source", "freshness")``.
    :param command: the command line without the flags of the place where dbt runs.
    :param executable: the dbt to start, a whole path where the worker finds one.
    :param mode: how dbt is started.
    :param starts_guard_ahead: whether a guard is started while everything else is prepared.
    :param env: the environment variables for dbt, without those of the profile.
    :param given_env: those of them that the operator's parameter names, before they became texts.
    :param project_dir: folder of the dbt project, as the operator was given it.
    :param profile_config: where the profile comes from.
    :param vars: dbt's ``--vars``, by name or as a text of YAML; None: there are none.
    :param partial_parse: whether dbt is offered the parse file of an earlier command.
    :param cache_dir: folder where that file is kept; None: below the cache folder.
    :param install_deps: whether ``dbt deps`` comes first; a text is what a template rendered to.
    :param copy_dbt_packages: whether the packages folder is copied and not linked; None: as the settings say.
    :param manifest_filepath: a manifest that dbt finds in its target folder; empty: none.
    :param state: folder, URL, or ``last_success``: the artifacts of another run; None: there are none.
    :param state_conn_id: id of the Airflow connection for such a URL; None: the default one of its storage.
    :param defer_to_state: ``--defer``; a text is what a template rendered to.
    :param favor_state: ``--favor-state``; likewise.
    :param after: what follows the run.
    :param warm: whether dbt may start warm.
    :param packages_directory: where installed packages are kept; None: below the cache folder.
    :param on_node: gets what dbt says of each node when it says it, and dbt's target folder. A dbt that is a process
        writes JSON for it, and the log has text all the same. None: nobody asks.
    :param on_tick: called every second while a dbt that is a process runs; None: nothing is.
    :param updated_before: unique ids of the nodes that earlier tries of the task have updated.
    :param starts: how its commands were started, each noted when it starts: ``warm``, ``runner`` (in this process),
        ``process``, or the reason why a process did not start warm.
    """

    dag_id: str
    task_id: str
    context: Context | Mapping[str, Any]
    log: Any  # Airflow has another type for it in each version
    cancellation: Cancellation
    base_cmd: tuple[str, ...]
    # The first word is the executable as it was given; ``executable`` is where the worker finds it.
    command: Sequence[str]
    executable: str
    mode: InvocationMode
    starts_guard_ahead: bool
    env: Mapping[str, str] = field(repr=False)  # secrets may be in it
    given_env: Mapping[str, Any] = field(repr=False)
    project_dir: str | Path
    profile_config: ProfileConfig
    vars: Mapping[str, Any] | str | None
    partial_parse: bool
    cache_dir: str | Path | None
    install_deps: bool | str
    copy_dbt_packages: bool | None
    manifest_filepath: str | Path
    state: str | None
    state_conn_id: str | None
    defer_to_state: bool | str
    favor_state: bool | str
    after: PostRunOptions
    warm: WarmOptions
    packages_directory: Path | None
    on_node: Callable[[NodeEvent, Path], None] | None
    on_tick: Callable[[], None] | None
    updated_before: Collection[str]
    starts: list[str]

    @property
    def project(self) -> Path:
        """The folder of the dbt project."""
        return Path(self.project_dir)

    @property
    def task_key(self) -> tuple[str, ...]:
        """The names that tell the task from others: DAG, task, index of a mapped one, target of the profile."""
        return (self.dag_id, self.task_id, *map_index(self.context), self.profile_config.target_name)

    @property
    def wants_deps(self) -> bool:
        """Whether ``dbt deps`` comes before the command: it is wanted, and the project lists packages."""
        return to_boolean(self.install_deps) and has_packages(self.project)


@dataclass(frozen=True, kw_only=True)
class DbtCommand:
    """One command of a run, ready to be started: ``dbt deps``, or the task's own.

    :param words: the whole command line.
    :param place: the workspace, in which it runs.
    :param env: its environment variables, the profile's secrets among them.
    :param keep_open: descriptors that it holds until its last process is gone.
    :param profiles_yml: the file of its profile.
    """

    words: list[str]
    place: Path
    profiles_yml: Path
    env: dict[str, str] = field(repr=False)
    keep_open: tuple[int, ...]

    @property
    def is_deps(self) -> bool:
        """Whether it is the ``dbt deps`` before the task's own command."""
        return self.words[1:2] == ["deps"]


@dataclass(frozen=True, kw_only=True)
class RunHooks:
    """The steps of a run that are methods of the operator, so that a subclass of it may override them.

    :param dbt_ready: within this block there is a dbt to run; yields an identity of the dbt installation: another dbt
        gives another text. Entered after everything that can be known without it.
    :param start: runs one command to its end.
    :param handle_exception: raises where a command has failed.
    :param judge: raises where the task's own command has not done what it was to do, after it has ended.
    :param after_success: what else the command owes its user, while the folder in which dbt ran is still there.
    :param updates: how the task is changed.
    """

    dbt_ready: Callable[[DbtRun], AbstractContextManager[str]]
    start: Callable[[DbtRun, DbtCommand], DbtResult]
    handle_exception: Callable[[DbtResult, Artifacts], object]
    judge: Callable[[DbtResult, Artifacts], object]
    after_success: Callable[[Artifacts], object]
    updates: TaskUpdates


def run_dbt_task(run: DbtRun, hooks: RunHooks) -> DbtResult:
    """Run the command in a workspace, with its profile; ``dbt deps`` first where that is wanted.

    :param run: what is run.
    :param hooks: the operator's own steps.
    :returns: what came of the task's own command.
    :raises AirflowException: when dbt fails.
    :raises CosmosValueError: when a parameter of the operator cannot be followed, naming it.
    """
    require_project(run.project)
    post_run.require_place_for(run.after, run.base_cmd)
    wants_deps = run.wants_deps
    with (
        # A guard takes some milliseconds to start: meanwhile the profile is written and the environment found.
        started_ahead(run.starts_guard_ahead),
        run.profile_config.ensure_profile() as (profile, secrets),
        hooks.dbt_ready(run) as which_dbt,
    ):
        parsed = _parsed_project(run, profile, which_dbt)
        with workspace(
            run.project,
            install_deps=wants_deps,
            copies_packages=project_cache.copies_packages(run.copy_dbt_packages),
            manifest=Path(run.manifest_filepath) if run.manifest_filepath else None,
            parsed=parsed,
            environment=run.env,
        ) as place:
            flags = ["--project-dir", str(place), *run.profile_config.flags(profile)]
            command_words, selectors = selection_in_file([*run.command[1:]])
            if selectors:
                (place / "selectors.yml").unlink(missing_ok=True)  # the link to the project's: no other selector counts
                (place / "selectors.yml").write_text(selectors, encoding="utf-8")
            words = [run.executable, *command_words, *flags, *_state_flags(run, place)]
            # Only variables that the operator was given count. A DBT_TARGET_PATH of the worker would mix the artifacts
            # of its tasks.
            outputs = Outputs.of(place, named_folders(run.env, run.given_env), words)
            command = DbtCommand(
                words=words,
                place=place,
                profiles_yml=profile,
                # The profile's secrets are for dbt alone, and nothing here is logged.
                env=outputs.variables({**run.env, **secrets}),
                # When the worker is killed, its guard still ends dbt: until then no other task may take these folders
                # for rubbish.
                keep_open=(*descriptors_of(place), *scratch.descriptors_of(profile.parent)),
            )
            outcome = post_run.Outcome(
                base_cmd=run.base_cmd,
                options=run.after,
                context=run.context,
                log=run.log,
                updates=hooks.updates,
                profile_config=run.profile_config,
                place=place,
                artifacts=outputs.artifacts(),
                profiles_yml=profile,
                env=command.env,
                updated_before=run.updated_before,
                starts=run.starts,
            )
            if wants_deps:
                deps = replace(command, words=[run.executable, "deps", *flags, *vars_flags(run.vars)])
                result = _result_with_packages(run, hooks, command, deps, outcome, which_dbt)
            else:
                result = hooks.start(run, command)
            # Of a dbt that failed too, which has parsed the project like any other.
            if parsed is not None:
                parsed.keep(outcome.artifacts)
            _settle(run, hooks, result, outcome)
    return result


def _parsed_project(run: DbtRun, profiles_yml: Path, which_dbt: str) -> ParsedProject | None:
    if not run.partial_parse:
        return None
    return project_cache.parsed_project(
        run.project,
        profiles_yml,
        target_name=run.profile_config.target_name,
        variables=run.vars,
        env=run.env,
        which_dbt=which_dbt,
        folder=Path(run.cache_dir) if run.cache_dir else None,
    )


def _state_flags(run: DbtRun, place: Path) -> list[str]:
    if not (run.state or run.defer_to_state or run.favor_state):
        return []
    from cosmos_venv.operators.run import state  # few tasks need it

    return state.state_flags(_earlier_run(run), place)


def _earlier_run(run: DbtRun) -> Any:
    from cosmos_venv.operators.run.state import EarlierRun

    return EarlierRun(**{name: getattr(run, name) for name in EarlierRun.__dataclass_fields__})


def _result_with_packages(
    run: DbtRun, hooks: RunHooks, command: DbtCommand, deps: DbtCommand, outcome: Outcome, which_dbt: str
) -> DbtResult:
    """The result of the command, with the project's packages there: kept ones, else ``dbt deps`` installs them."""
    # An error of dbt deps comes up through the lock of the packages; only there it is known whose it is.
    failed: list[Exception] = []

    def install() -> None:
        artifacts = Outputs.of(deps.place, deps.env).artifacts()
        # What it downloads goes with the workspace, also when it is killed.
        result = hooks.start(run, replace(deps, env=downloading_in_place(deps.place, deps.env)))
        try:
            hooks.handle_exception(result, artifacts)
        except Exception as error:
            failed.append(error)
            raise

    packages = packages_of(run, env=command.env, which_dbt=which_dbt)
    try:
        with packages.installed(
            command.place, install=install, cancellation=run.cancellation, report=run.log.info
        ) as descriptors:
            return hooks.start(run, replace(command, keep_open=(*command.keep_open, *descriptors)))
    except Exception as error:
        # Here, and not where dbt deps has failed: other tasks wait there until it is their turn.
        if error in failed:
            post_run.follow_up(outcome, failed=True)
        raise


def packages_of(run: DbtRun, *, env: Mapping[str, str], which_dbt: str) -> ProjectPackages:
    """The packages that ``dbt deps`` installs for the project of a run.

    :param run: the run.
    :param env: the environment variables of dbt, as far as they are known.
    :param which_dbt: a text that differs where the dbt may be another one.
    """
    return project_cache.project_packages(
        run.project, run.packages_directory, variables=run.vars, env=env, which_dbt=which_dbt
    )


def _settle(run: DbtRun, hooks: RunHooks, result: DbtResult, outcome: Outcome) -> None:
    """Do what is left to do after dbt, and fail where it has failed."""
    lines = getattr(result, "full_output", ())
    try:
        hooks.judge(result, outcome.artifacts)
        refuse_unreported(run.context, run.base_cmd, outcome.artifacts, lines, log=run.log)
    except Exception:
        post_run.follow_up(outcome, failed=True)
        raise
    post_run.follow_up(outcome, failed=False)
    hooks.after_success(outcome.artifacts)
    post_run.call_back_about_warnings(outcome, lines)
    # Last of all: it is a success only when nothing of the above has failed.
    if run.state:
        from cosmos_venv.operators.run import state

        state.keep_success(_earlier_run(run), outcome.artifacts)


def start_command(
    run: DbtRun,
    command: DbtCommand,
    *,
    run_subprocess: Callable[..., DbtResult],
    run_dbt_runner: Callable[..., DbtResult],
    served: Callable[[str], warm_start.Served],
) -> DbtResult:
    """Run one command to its end, by the operator's own methods.

    :param run: the run that it is a part of.
    :param command: the command.
    :param run_subprocess: called with command line, environment variables and folder where dbt is a process.
    :param run_dbt_runner: called likewise where dbt runs in this process.
    :param served: gives what a server for the executable would import.
    :raises DbtNotStarted: when no dbt could be started, or it has to start warm and cannot.
    """
    place = str(command.place)
    # An operator of a user may have a method of its own here, which need not know of it.
    on_node: dict[str, Any] = {}
    if (take := run.on_node) is not None and not command.is_deps:
        target = Outputs.of(command.place, command.env, command.words).artifacts().target
        on_node["on_node"] = lambda event: take(event, target)
    try:
        if run.mode is InvocationMode.SUBPROCESS:
            dbt = served(run.executable)  # once: it reads the record of the environment
            how = how_to_start(run, dbt) | on_node
            if on_node and run.on_tick is not None:
                how["on_tick"] = run.on_tick
            _tell_of_downloads(run, command, dbt)
            words = command.words if dbt.engine.has_docs_generate else dbt_2_command_line(command.words)
            artifacts = Outputs.of(command.place, command.env, words).artifacts()
            result = run_subprocess(words, command.env, place, keep_open=command.keep_open, **how)
            _refuse_undone(run, command, result, artifacts, engine=dbt.engine)
            return result
        if run.warm.choice == "off":
            run.starts.append("runner")
        else:
            # With DBT_RUNNER each task pays the import, in its own process.
            _count_start(run, "runner")
            if run.warm.choice == "require":
                raise NotWarm("runner", "with DBT_RUNNER the task imports dbt itself; SUBPROCESS can start warm")
    except NotWarm as error:
        raise DbtNotStarted(
            f"dbt cannot start warm: {error}, and warm_dbt or [cosmos_venv] {run.warm.setting} is 'require'. "
            "With 'auto' it starts as a plain process then."
        ) from None
    return run_dbt_runner(command.words, command.env, place, **on_node)


def _tell_of_downloads(run: DbtRun, command: DbtCommand, dbt: warm_start.Served) -> None:
    """Say beforehand that dbt will download a database driver: a worker without internet fails there."""
    if dbt.engine.brings_drivers or command.is_deps:
        return
    warning = download_warning(
        dbt.program.script,
        run.base_cmd[0],
        command.profiles_yml,
        profile=run.profile_config.profile_name,
        target=run.profile_config.target_name,
        environment=command.env,
    )
    if warning:
        run.log.warning(warning)


def _refuse_undone(
    run: DbtRun, command: DbtCommand, result: DbtResult, artifacts: Artifacts, *, engine: Engine
) -> None:
    """Raise where dbt has ended with exit code 0 and done nothing."""
    if getattr(result, "exit_code", 1):  # a class of a user may return what it likes
        return
    leaves = None if engine.fails_without_command or command.is_deps else LEAVES.get(run.base_cmd[0])
    lacks = leaves if leaves and artifacts.text(leaves) is None else None
    # Of any dbt: one behind a script is not known for native.
    message = undone(run.base_cmd, getattr(result, "full_output", ()), lacks=lacks)
    if message:
        raise AirflowException(message)


def how_to_start(run: DbtRun, served: warm_start.Served) -> dict[str, Any]:
    """The argument ``start`` for ``run_subprocess``; nothing where commands are plain processes.

    :param run: the run that a command is a part of.
    :param served: the dbt that a server would import.
    """
    if run.warm.choice == "off":
        run.starts.append("process")
        return {}
    start = warm_start.warm_start(
        served,
        choice=run.warm.choice,
        runs_as_another=run.warm.runs_as_another,
        cancellation=run.cancellation,
        report=run.log.info,
        count=lambda how: _count_start(run, how),
    )
    return {"start": start}


def _count_start(run: DbtRun, how: str) -> None:
    """Count by Airflow's metrics; log a warm start too. A cold one stands in the log already, with its reason."""
    run.starts.append(how)
    tags = {"dag_id": run.dag_id, "task_id": run.task_id}
    if how == "warm":
        run.log.info("dbt starts warm: it is forked from a process that has imported it.")
        count("cosmos_venv.dbt.warm", tags)
    else:
        count("cosmos_venv.dbt.cold", {**tags, "reason": how})


def run_process(
    command: list[str],
    *,
    log: Any,
    why_not_started: Callable[[str, OSError], str],
    on_node: Callable[[NodeEvent], None] | None = None,
    **how: Any,
) -> FullOutputSubprocessResult:
    """Run one dbt command as a process to its end, its lines streaming into the task's log.

    :param command: the command line.
    :param log: the task's logger.
    :param why_not_started: gives the text of the error for an executable that cannot be started.
    :param on_node: gets what a dbt that writes JSON says of each node; the log gets text. None: lines are logged as
        they come.
    :param **how: of ``invocation.run_dbt``.
    :raises DbtNotStarted: when the executable cannot be started.
    """
    with_debug = asks_for_debug(command, how.get("env", {}))

    def log_line(line: str) -> None:
        if on_node is not None:
            if (event := node_event(line)) is not None:
                on_node(event)
            text = logged_text(line, with_debug=with_debug)
            if text is None:
                return
            line = text
        # dbt deps names the addresses of packages; what other commands say may be data.
        log.info(credentials.mask(line) if "deps" in command[1:2] else line)

    log.info("Running %s", shown_command(command))
    log.debug("The whole command: %s", shlex.join(command))
    try:
        result = invocation.run_dbt(command, on_line=log_line, **how)
    except OSError as error:
        if error.filename != command[0]:  # of the guard, the worker or the folder
            raise
        raise DbtNotStarted(why_not_started(command[0], error)) from error
    log.info("Command exited with return code %s", result.exit_code)
    return result


def refuse_failure(
    result: DbtResult, artifacts: Artifacts, *, skip_exit_code: int | None, profile_config: ProfileConfig
) -> None:
    """Turn what came of dbt into what Airflow understands.

    :param result: what came of the command.
    :param artifacts: they say which nodes failed, and why.
    :param skip_exit_code: the exit code that skips the task; None: none does.
    :param profile_config: knows advice about failures to connect.
    :raises AirflowException: when a dbt process failed.
    :raises AirflowSkipException: when it ended with ``skip_exit_code``.
    :raises CosmosDbtRunError: when a dbt in this process failed.
    """
    if not isinstance(result, FullOutputSubprocessResult):
        invocation.raise_for(result, artifacts)
    elif skip_exit_code is not None and result.exit_code == skip_exit_code:
        raise AirflowSkipException(f"dbt command returned exit code {skip_exit_code}. Skipping.")
    elif result.exit_code:
        # dbt names the addresses of repositories, some with a password.
        reason = credentials.mask(failure_text(artifacts, lines=result.full_output))
        reason += profile_config.advice_about(reason)
        if advice := advice_about_option(result.full_output):
            reason += f"\n{advice}"
        raise AirflowException(
            f"dbt command failed. The command returned a non-zero exit code {result.exit_code}.\n{reason}"
        )
