"""DbtLocalBaseOperator: the parameters of a local operator, and the methods that users of Cosmos override.

``run.run_steps`` holds the steps of a run, from the workspace to what follows dbt. It calls the methods here that a
subclass may override. A DAG file is parsed far more often than a task runs. So what only a run needs is imported by the
methods that run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cosmos_venv import compat, settings
from cosmos_venv.config.validation import member
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.command import CommandFlags, Flags, Selection, shown_command
from cosmos_venv.exceptions import CommandKilled, CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files import os_errors
from cosmos_venv.operators.base import AbstractDbtBase
from cosmos_venv.operators.parameters import (
    flags_as_texts,
    refuse_no_callbacks,
    refuse_wrong_shapes,
    split_arguments,
    warn_of_ignored,
)
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.command import FullOutputSubprocessResult
    from cosmos_venv.dbt.results import Artifacts
    from cosmos_venv.operators.run.dbt_run import DbtCommand, DbtResult, DbtRun
    from cosmos_venv.operators.run.warm_start import WarmCandidate

_NOT_STORED = frozenset({"self", "kwargs", "task_id", "__class__"})
_BOOLEANS_OR_NONE = frozenset({"copy_dbt_packages", "should_upload_compiled_sql"})
"""Boolean parameters whose default is None, so that the default does not show their type. A user's class may make them
template fields."""


class DbtLocalBaseOperator(AbstractDbtBase):
    """A dbt command as a process of the worker.

    :param project_dir: folder of the dbt project. It is never written to: dbt runs in a folder of links to it.
    :param profile_config: where the profile comes from.
    :param select, exclude, selector, models: dbt's selection, a text or a list of texts (their
        union). May be templates.
    :param vars: dbt's ``--vars``, a dict or YAML text. May be a template.
    :param indirect_selection: dbt's ``--indirect-selection``.
    :param no_version_check, cache_selected_only, fail_fast, quiet, warn_error: dbt's flag of that name.
    :param task_id: Airflow's id of the task.
    :param env: environment variables for dbt. May be a template.
    :param append_env: whether dbt gets the worker's variables too. It always gets the variables of Airflow's context
        and of the profile.
    :param output_encoding: encoding of dbt's output; bytes that do not decode become backslash escapes.
    :param skip_exit_code: an exit code of dbt that skips the task; None: none does. With DBT_RUNNER there is no exit
        code.
    :param partial_parse: False adds ``--no-partial-parse``, and no parse file is kept.
    :param cache_dir: where the parse file is kept; None: below ``[cosmos_venv] cache_dir``.
    :param dbt_executable_path: the dbt to run, a path or a name on PATH; None: ``dbt``. Virtualenv operators run their
        own.
    :param dbt_cmd_flags: further flags, last of the command: a list of texts, paths and numbers, or such a list by
        command (``{"run": ["--threads", 4]}``).
    :param dbt_cmd_global_flags: flags before the sub-command: a list of texts, paths and numbers.
    :param install_deps: run ``dbt deps`` before the command where the project lists packages; a boolean, or a template
        of one.
    :param copy_dbt_packages: copy the project's packages folder instead of linking to it, where ``dbt deps`` does not
        run; None: as ``[cosmos] default_copy_dbt_packages`` says.
    :param manifest_filepath: a manifest that dbt finds in its target folder.
    :param invocation_mode: SUBPROCESS, or DBT_RUNNER for a dbt that is installed in Airflow's own environment; None:
        DBT_RUNNER where ``dbt_executable_path`` is the dbt of that environment, or where there is no other dbt.
    :param dbt_runner_callbacks: for the dbtRunner of DBT_RUNNER; each gets dbt's events.
    :param cancel_query_on_kill: a kill begins with SIGINT, on which dbt cancels its queries; False: with SIGTERM.
    :param interceptors: called as ``interceptor(context, operator)`` before the command is built; they may change
        ``operator.vars`` and ``operator.env``.
    :param extra_context: merged into the task's context.
    :param callback: called after dbt, also a failed one, with the folder in which it ran: a callable, an import path,
        or a list of these.
    :param callback_args: keyword arguments for it; ``context`` is added.
    :param should_store_compiled_sql: show compiled SQL and source freshness among the rendered fields of the task,
        after a failure too.
    :param should_upload_compiled_sql: copy compiled SQL to ``[cosmos] remote_target_path``; None: ``compile`` does
        where that is set.
    :param push_run_results_to_xcom: push dbt's run_results.json as the XCom ``run_results`` (base64 of zlib).
    :param push_node_rows: push what became of each node as the XCom ``dbt_nodes``: status, seconds, rows, and how dbt
        was started. ``RenderConfig.run_summary`` gives it.
    :param run_artifacts: keep dbt's results for the artifacts of the whole run: the id of the group that the project
        makes up, empty where it is the DAG; None: they are not kept. ``RenderConfig.run_artifacts`` gives it.
    :param run_hooks_once: run dbt without the project's hooks ``on-run-start`` and ``on-run-end``, which two tasks of
        the DAG run. ``RenderConfig.run_hooks_once`` gives it.
    :param state: artifacts of another run, for ``state:`` selectors and deferral: a folder (relative to the project), a
        URL of object storage, or ``"last_success"``, those of this task's own last success.
    :param state_conn_id: the Airflow connection for such a URL; None: the default one of that storage.
    :param defer_to_state: ``--defer``: a node that is not selected, and does not exist in the target, is read from the
        relation in ``state``; a boolean, or a template of one.
    :param favor_state: ``--favor-state``: ``--defer`` also for nodes that exist in the target; a boolean, or a template
        of one.
    :param warm_dbt: whether dbt may be forked from a process that has imported it: ``auto``, ``off`` or ``require``;
        None: as ``[cosmos_venv] local_warm_dbt`` says. With DBT_RUNNER each task imports dbt itself.
    :param run_params: names of the DAG's params that a run may set, by their purpose (``full_refresh``, ``vars``,
        ``select``, ``exclude``). Its ``task_id`` is the task that evaluates the selection. None: there are no such
        params.
    :param retry_on: the kinds of failures after which Airflow may try the task again, a text or a list:
        ``warehouse`` (and whatever is not known), ``tests``, ``compilation``, ``contract`` or ``sql``; None: as
        ``[cosmos_venv] retry_on`` says. Not for sensors, and not beside a ``retry_policy`` of your own.
    :param skipped_with: further tasks of the project: when one of them or a parent was skipped, this task is skipped.
        Their ids stand without the group of the project. None: the trigger rule alone decides.
    :param emit_datasets: let Airflow know which assets the nodes that ran have updated (run, build, seed, snapshot);
        a boolean, or a template of one.
    :param conn_id, db_name, schema: nothing reads them; they exist because Cosmos has them.
    :raises CosmosValueError: for an argument that no dbt operator takes, and for an invalid value.
    """

    own_template_fields: ClassVar[tuple[str, ...]] = (
        "compiled_sql",
        "freshness",
        "emit_datasets",
        "install_deps",
        "state",
        "defer_to_state",
        "favor_state",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"compiled_sql": "sql", "freshness": "json"}
    #: the option of ``[cosmos_venv]`` that counts where ``warm_dbt`` is not given.
    warm_setting: ClassVar[str] = "local_warm_dbt"
    #: whether the alias of the task's assets is an outlet while Airflow 3 parses the DAG; on Airflow 2 it always is.
    declares_alias: ClassVar[bool] = False
    #: the compiled SQL of the selection, for Airflow's page of rendered fields; written by the task.
    compiled_sql = ""
    freshness = ""
    #: one event for each node that succeeded, by OpenLineage's processor; written by the task.
    openlineage_events_completes: Sequence[Any] = ()
    #: arguments of ``run_process`` for the present command: a user's ``run_subprocess`` need not know of them.
    _launch: Mapping[str, Any] = MappingProxyType({})
    #: the artifacts of the last command: a user's ``handle_exception`` need not know of them.
    _artifacts: Artifacts | None = None
    #: what ``on-run-end`` gets as ``results``; written by the task that runs it.
    hook_results: Sequence[Mapping[str, Any]] = ()
    _has_run = False

    project_dir: str | Path
    profile_config: ProfileConfig
    select: Selection
    exclude: Selection
    selector: Selection
    models: Selection
    vars: Mapping[str, Any] | str | None
    emit_datasets: bool | str
    install_deps: bool | str
    output_encoding: str
    skip_exit_code: int | None
    dbt_cmd_flags: CommandFlags
    invocation_mode: InvocationMode | None
    dbt_runner_callbacks: Sequence[Callable[[Any], object]] | None
    cancel_query_on_kill: bool
    partial_parse: bool
    cache_dir: str | Path | None
    copy_dbt_packages: bool | None
    manifest_filepath: str | Path
    push_run_results_to_xcom: bool
    push_node_rows: bool
    run_artifacts: str | None
    run_hooks_once: bool
    state: str | None
    state_conn_id: str | None
    defer_to_state: bool | str
    favor_state: bool | str
    warm_dbt: str | None
    run_params: Mapping[str, str] | None
    skipped_with: Sequence[str] | None
    retry_on: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        task_id: str,
        project_dir: str | Path,
        profile_config: ProfileConfig,
        conn_id: str | None = None,
        db_name: str | None = None,
        schema: str | None = None,
        select: Selection = None,
        exclude: Selection = None,
        selector: Selection = None,
        models: Selection = None,
        vars: Mapping[str, Any] | str | None = None,  # noqa: A002 - Cosmos's name
        indirect_selection: str | None = None,
        no_version_check: bool = False,
        cache_selected_only: bool = False,
        fail_fast: bool = False,
        quiet: bool = False,
        warn_error: bool = False,
        emit_datasets: bool | str = True,
        env: Mapping[str, Any] | None = None,
        append_env: bool = True,
        output_encoding: str = "utf-8",
        skip_exit_code: int | None = 99,
        partial_parse: bool = True,
        cache_dir: str | Path | None = None,
        dbt_executable_path: str | Path | None = None,
        dbt_cmd_flags: CommandFlags = None,
        dbt_cmd_global_flags: Flags | None = None,
        install_deps: bool | str = True,
        copy_dbt_packages: bool | None = None,
        manifest_filepath: str | Path = "",
        invocation_mode: InvocationMode | None = None,
        dbt_runner_callbacks: Sequence[Callable[[Any], object]] | None = None,
        cancel_query_on_kill: bool = True,
        interceptors: Sequence[Callable[[Any, Any], object]] | None = None,
        extra_context: Mapping[str, Any] | None = None,
        callback: Callable[..., object] | str | Sequence[Callable[..., object] | str] | None = None,
        callback_args: Mapping[str, Any] | None = None,
        should_store_compiled_sql: bool = True,
        should_upload_compiled_sql: bool | None = None,
        push_run_results_to_xcom: bool = False,
        push_node_rows: bool = False,
        run_artifacts: str | None = None,
        run_hooks_once: bool = False,
        state: str | Path | None = None,
        state_conn_id: str | None = None,
        defer_to_state: bool | str = False,
        favor_state: bool | str = False,
        warm_dbt: str | None = None,
        run_params: Mapping[str, str] | None = None,
        skipped_with: Sequence[str] | None = None,
        retry_on: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        # This must be the first line: any other local variable would be stored, and copied with each DAG.
        given = {name: value for name, value in locals().items() if name not in _NOT_STORED}
        own, rest = self.take_own_parameters(kwargs)
        rest, ignored = split_arguments(type(self), rest)
        refuse_wrong_shapes(given)
        if warm_dbt is not None:
            from cosmos_venv.operators.run import warm_start

            warm_start.warm_choice(warm_dbt)
        refuse_no_callbacks("on_warning_callback", own.get("on_warning_callback"))
        kinds: tuple[str, ...] = ()
        if retry_on or settings.retry_on:
            from cosmos_venv.operators.run.retries import retried_kinds

            kinds = retried_kinds(type(self), retry_on, settings.retry_on, rest)
        super().__init__(task_id=task_id, **rest)
        if ignored:
            warn_of_ignored(self, ignored)
        kept = {
            "env": _copy(env, {}),
            "state": None if state is None else str(state),  # Airflow renders templates in texts, not in Paths
            "dbt_executable_path": str(dbt_executable_path or "dbt"),
            **flags_as_texts(given),
            "invocation_mode": _invocation_mode(invocation_mode, dbt_runner_callbacks),
            "interceptors": _copy(interceptors, []),
            "extra_context": _copy(extra_context, {}),
            "callback_args": _copy(callback_args, {}),
            "retry_on": kinds,
        }
        self._store(given | own | kept)
        # Airflow 2 wants to know the alias while the DAG is parsed; Airflow 3 learns of it when the task runs.
        is_early = self.declares_alias or not compat.ASSETS_NEED_AN_ALIAS
        if is_early and settings.enable_dataset_alias:
            from cosmos_venv.operators.run.post_run import alias_name, gives_assets

            if gives_assets(self):
                compat.add_outlets(self, [compat.asset_alias(alias_name(self))])

    def pre_execute(self, context: Context) -> None:
        """Read the booleans that templates have rendered to, and apply the params of the run, where the DAG has params
        for dbt.

        :param context: Airflow's context of the task.
        :raises AirflowSkipException: when nothing of this task is chosen.
        """
        for name in self.template_fields:
            rendered = vars(self).get(name)
            is_boolean = isinstance(getattr(type(self), name, None), bool) or name in _BOOLEANS_OR_NONE
            if isinstance(rendered, str) and is_boolean:
                vars(self)[name] = compat.to_boolean(rendered)
        if self.run_params is not None:
            with self._failing_as_a_task():
                changes = self._changes_for_run(context)
            if changes:
                vars(self).update(changes)
                compat.show_rendered_fields(self, context)
        super().pre_execute(context)

    def _changes_for_run(self, context: Context) -> dict[str, Any]:
        """The attributes that the params of the run change."""
        from cosmos_venv.operators.run.run_request import RunRequest, selection_for

        request = RunRequest.of(self.run_params or {}, context)
        return request.changes(self) | selection_for(self, request, context)

    def build_and_run_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Flags | None = None, *_: object, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Build the command and run it, which ``execute`` does.

        :param context: Airflow's context of the task.
        :param cmd_flags: instead of this command's own flags.
        :param **kwargs: of ``run_command``.
        :returns: exit code and output of dbt.
        """
        # A kill before the first run counts: Airflow may kill while it renders templates. A kill after a run does not.
        if self._has_run:
            vars(self).pop("_requested_end", None)
        self._has_run = True
        with self._failing_as_a_task():
            return super().build_and_run_cmd(context, cmd_flags, **kwargs)

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], *_: object, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run the command in a workspace, with its profile; ``dbt deps`` first where that is wanted.

        :param cmd: the command line, as ``build_cmd`` gives it.
        :param env: the environment variables for dbt; the profile's variables are added.
        :param context: Airflow's context of the task.
        :param **kwargs: nothing reads them; they exist because Cosmos has them.
        :returns: exit code and output of dbt.
        :raises AirflowException: when dbt fails.
        """
        from cosmos_venv.operators.run.run_steps import run_in_workspace

        run = self._dbt_run(cmd, env, context)
        return cast("FullOutputSubprocessResult", run_in_workspace(run, self._judge))

    @property
    def kept_directory(self) -> Path | None:
        """The directory where the task's environment is kept, with packages; None where it has none of its own."""
        return None

    def _dbt_run(self, cmd: Sequence[str], env: Mapping[str, str], context: Context | Mapping[str, Any]) -> DbtRun:
        from cosmos_venv.operators.run.dbt_run import DbtRun

        return DbtRun(task=self, context=context, command=cmd, env=env)

    def _start(self, run: DbtRun, command: DbtCommand) -> DbtResult:
        """Start one command of a run, and wait for its end.

        :raises DbtNotStarted: when no dbt could be started, or dbt must start warm and cannot.
        """
        from cosmos_venv.operators.run.dbt_run import start

        return start(run, command)

    def run_subprocess(
        self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run one dbt command to its end, its lines streaming into the task's log.

        :param command: the command line.
        :param env: all environment variables of the process.
        :param cwd: the folder in which it runs.
        :param **kwargs: ``context``, which nothing here reads. The launcher and leases come by the attribute
            ``_launch``, which ``dbt_run.start`` sets.
        :returns: exit code and output of dbt.
        :raises DbtNotStarted: when the executable cannot be started.
        """
        from cosmos_venv.operators.run.dbt_run import run_process

        return run_process(self, command, env, cwd, **self._launch)

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> DbtResult:
        """Run one dbt command in this process.

        :param command: the command line; its first element, the executable, is not used.
        :param env: all environment variables that dbt sees.
        :param cwd: the folder in which it runs.
        :param **kwargs: ``context``, which nothing here reads.
        :returns: dbt's own ``dbtRunnerResult``.
        :raises CosmosDbtRunError: when dbt cannot be imported.
        """
        from cosmos_venv.dbt import invocation

        self.log.info("Running %s in this process", shown_command(["dbt", *command[1:]]))
        return invocation.run_in_process(
            command[1:],
            env=env,
            cwd=Path(cwd),
            user_code=self._folders_of_user_code(),
            callbacks=self.dbt_runner_callbacks or (),
            on_node=self._launch.get("on_node"),
            cancellation=self._cancellation,
        )

    def handle_exception(self, result: DbtResult) -> None:
        """Raise where dbt failed, as the kind of the result asks for.

        :param result: what ``run_subprocess`` or ``run_dbt_runner`` has returned.
        :raises AirflowException: when a dbt process failed.
        :raises AirflowSkipException: when it ended with ``skip_exit_code``.
        :raises CosmosDbtRunError: when a dbt in this process failed.
        """
        if hasattr(result, "exit_code"):
            self.handle_exception_subprocess(result)
        else:
            self.handle_exception_dbt_runner(result)

    def handle_exception_subprocess(self, result: FullOutputSubprocessResult) -> None:
        """Raise where a dbt process failed.

        :param result: what ``run_subprocess`` has returned.
        :raises AirflowException: when it failed.
        :raises AirflowSkipException: when it ended with ``skip_exit_code``.
        """
        from cosmos_venv.operators.run.dbt_run import refuse_failure

        refuse_failure(self, result)

    def handle_exception_dbt_runner(self, result: DbtResult) -> None:
        """Raise where a dbt in this process failed.

        :param result: what ``run_dbt_runner`` has returned.
        :raises CosmosDbtRunError: when it failed.
        """
        from cosmos_venv.dbt.invocation import raise_for
        from cosmos_venv.operators.run.dbt_run import left_by

        raise_for(result, left_by(self))

    def on_kill(self) -> None:
        """End dbt and all it started: SIGINT (``cancel_query_on_kill``), then SIGTERM, then SIGKILL."""
        self._cancellation.request()

    @property
    def _cancellation(self) -> Cancellation:
        """The cancellation of the present run, or of the first run before it begins: ``on_kill`` requests it."""
        # setdefault is atomic: on_kill may be a signal handler that interrupts this line.
        cancellation: Cancellation = vars(self).setdefault("_requested_end", Cancellation())
        return cancellation

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """The inputs, outputs and facets of all nodes that ran. Called by Airflow's OpenLineage provider alone.

        :param task_instance: not used.
        """
        from cosmos_venv.operators.run.post_run import openlineage_facets

        return openlineage_facets(self.openlineage_events_completes)

    @contextmanager
    def _dbt_ready(self, run: DbtRun) -> Iterator[str]:
        """Keep a dbt ready within this block. Yields a text that identifies the dbt: another dbt has another text."""
        from cosmos_venv.dbt.invocation import which_dbt

        yield which_dbt(run.executable, run.mode)

    def _warm_candidate(self, executable: str) -> WarmCandidate:
        """The dbt that a server for this command would import."""
        from cosmos_venv.operators.run import warm_start

        return warm_start.WarmCandidate.of_executable(executable)

    def _why_not_started(self, executable: str, error: OSError) -> str:
        return (
            f"dbt_executable_path={executable!r} cannot be started: {error.strerror}. Install dbt there, name "
            "another, or let dbt be installed: with ExecutionMode.VIRTUALENV, or in WATCHER with py_requirements."
        )

    def _judge(self, result: DbtResult, artifacts: Artifacts) -> None:
        """Raise where the command has failed.

        :param result: the result of the command.
        :param artifacts: the artifacts that it has left.
        """
        self.handle_exception(result)

    def _after_success(self, run: DbtRun, command: DbtCommand) -> None:
        """Do further work of this command after dbt, while the folder in which dbt ran still exists."""

    @contextmanager
    def _failing_as_a_task(self) -> Iterator[None]:
        """Turn errors within this block into the exceptions that Airflow shows."""
        try:
            yield
        except CommandKilled as error:
            raise compat.AirflowException(f"Task {self.task_id} was killed; its dbt was ended.") from error
        except (CosmosValueError, CosmosLoadDbtException) as error:
            # The text has all details. A traceback would repeat the text, and bury it.
            raise compat.AirflowException(str(error)) from None
        except OSError as error:
            words = os_errors.shortage(error)
            if words is None:
                raise
            raise compat.AirflowException(words) from None


def _copy(value: Any, empty: Any) -> Any:
    """A copy for this operator alone: interceptors change the value, and tasks of a DAG may share the given one."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list | tuple) else value or empty


def _invocation_mode(given: object, runner_callbacks: object) -> InvocationMode | None:
    mode = None if given is None else member(InvocationMode, given, "invocation_mode")
    if not runner_callbacks:
        return mode
    if mode is InvocationMode.SUBPROCESS:
        raise CosmosValueError(
            "dbt_runner_callbacks are for a dbt in the worker's own process, and invocation_mode is SUBPROCESS. "
            "Drop them, or give InvocationMode.DBT_RUNNER where dbt is installed beside Airflow."
        )
    return InvocationMode.DBT_RUNNER
