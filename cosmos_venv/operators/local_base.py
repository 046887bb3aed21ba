"""Which parameters does a local operator have? All of them, and what they are when they are not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import managed
from cosmos_venv.config.values import member
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.command import CommandFlags, Flags, Selection
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.arguments import (
    flags_as_texts,
    refuse_no_callbacks,
    refuse_unknown,
    refuse_wrong_shapes,
)
from cosmos_venv.operators.asset_alias import declare_alias
from cosmos_venv.operators.local_run import LocalRun
from cosmos_venv.operators.openlineage import OpenLineageMethods

if TYPE_CHECKING:
    from cosmos_venv.config import ProfileConfig

_NOT_STORED = frozenset({"self", "kwargs", "task_id", "__class__"})


# An operator first: Airflow looks there for a constructor.
class DbtLocalBaseOperator(LocalRun, OpenLineageMethods):
    """A dbt command as a process of the worker.

    :param project_dir: folder of the dbt project. It is never written to: dbt runs in a folder of links to it.
    :param profile_config: where the profile comes from.
    :param select, exclude, selector, models: dbt's selection, a text or a list of texts (their union).
    :param vars: dbt's ``--vars``, a dict or YAML text.
    :param indirect_selection, no_version_check, cache_selected_only, fail_fast, quiet, warn_error: dbt's flags.
    :param env: environment variables for dbt; ``append_env`` adds them to the worker's own.
    :param output_encoding: of dbt's output; what does not decode becomes backslash escapes.
    :param skip_exit_code: an exit code of dbt that skips the task; None: none does. A dbt in the worker has none.
    :param partial_parse: False adds ``--no-partial-parse``, and no parse file is kept.
    :param cache_dir: where the parse file is kept; None: below ``[cosmos] cache_dir``.
    :param dbt_executable_path: the dbt to run; None: the first on PATH.
    :param dbt_cmd_flags: further flags, last of the command: a list of texts, paths and numbers, or such a list by
        command (``{"run": ["--threads", 4]}``).
    :param dbt_cmd_global_flags: flags before the sub-command: a list of texts, paths and numbers.
    :param install_deps: run ``dbt deps`` before the command where the project lists packages.
    :param copy_dbt_packages: copy the project's packages folder instead of linking to it, where ``dbt deps`` does not
        run; None: as ``[cosmos] default_copy_dbt_packages`` says.
    :param manifest_filepath: a manifest that dbt finds in its target folder.
    :param invocation_mode: SUBPROCESS, or DBT_RUNNER for a dbt that is installed in Airflow's own environment; None:
        DBT_RUNNER where that is the dbt of ``dbt_executable_path``, or there is no other.
    :param dbt_runner_callbacks: for the dbtRunner of DBT_RUNNER; each gets dbt's events.
    :param cancel_query_on_kill: a kill begins with SIGINT, on which dbt cancels its queries; False: with SIGTERM.
    :param interceptors: called as ``interceptor(context, operator)`` before the command is built; may change both.
    :param extra_context: merged into the task's context.
    :param callback: called after dbt, also a failed one, with the folder in which it ran: a callable, an import path,
        or a list of these.
    :param callback_args: keyword arguments for it; ``context`` is added.
    :param should_store_compiled_sql: show compiled SQL and source freshness among the rendered fields of the task.
    :param should_upload_compiled_sql: copy compiled SQL to ``[cosmos] remote_target_path``.
    :param push_run_results_to_xcom: push dbt's run_results.json as the XCom ``run_results`` (base64 of zlib).
    :param state: artifacts of another run, for ``state:`` selectors and deferral: a folder (relative to the project), a
        URL of object storage, or ``"last_success"``, those of this task's own last success.
    :param state_conn_id: the Airflow connection for such a URL; None: the default one of that storage.
    :param defer_to_state: ``--defer``: what is not selected is read where ``state`` has it.
    :param favor_state: ``--favor-state``: also what is selected, where ``state`` has it.
    :param warm_dbt: whether dbt may be forked from a process that has imported it: ``auto``, ``off`` or ``require``;
        None: as ``[cosmos_venv] local_warm_dbt`` says. With DBT_RUNNER each task imports dbt itself.
    :param warm_dbt_keeps_project: whether that process may keep the parsed project between commands; None: as
        ``[cosmos_venv] virtualenv_warm_dbt_keeps_project`` says.
    :param emit_datasets: let Airflow know which assets the nodes that ran have updated (run, build, seed, snapshot).
    :param conn_id, db_name, schema: kept as they are.
    :raises CosmosValueError: for an argument that the operator does not take, and for a value that cannot be.
    """

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
        emit_datasets: bool = True,
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
        state: str | Path | None = None,
        state_conn_id: str | None = None,
        defer_to_state: bool | str = False,
        favor_state: bool | str = False,
        warm_dbt: str | None = None,
        warm_dbt_keeps_project: bool | None = None,
        **kwargs: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in _NOT_STORED}
        own = self.take_own_parameters(kwargs)
        refuse_unknown(type(self), kwargs)
        refuse_wrong_shapes(given)
        if warm_dbt is not None or warm_dbt_keeps_project is not None:
            managed.refuse_wrong_warm_choices(warm_dbt, warm_dbt_keeps_project)
        refuse_no_callbacks("on_warning_callback", own.get("on_warning_callback"))
        super().__init__(task_id=task_id, **kwargs)
        kept = {
            "env": _copy(env, {}),
            "state": None if state is None else str(state),  # Airflow renders templates in texts, not in Paths
            "dbt_executable_path": str(dbt_executable_path or "dbt"),
            **flags_as_texts(given),
            "invocation_mode": _invocation_mode(invocation_mode, dbt_runner_callbacks),
            "interceptors": _copy(interceptors, []),
            "extra_context": _copy(extra_context, {}),
            "callback_args": _copy(callback_args, {}),
        }
        self._store(given | own | kept)
        declare_alias(self)


def _copy(value: Any, empty: Any) -> Any:
    """The value in the operator's own hands: interceptors change it, and tasks of a DAG are given the same one."""
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
