"""Local operators, their parameters, docs operators.

Which parameters does a local operator have? All of them, and what they are when they are not given.

dbt's documentation, generated and put where people read it: S3, Azure Blob Storage, Google Cloud Storage.

The provider of the cloud need not be installed where the DAG is parsed. Nothing is uploaded after a failed dbt.

dbt commands on the worker itself: each a command of ``base`` and the way to run it of ``local_base``.
"""

from __future__ import annotations

import mimetypes
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv.compat import AirflowException, let_map
from cosmos_venv.config.validation import member
from cosmos_venv.constants import ONLY_IF_CHANGED, InvocationMode
from cosmos_venv.dbt.command import CommandFlags, Flags, Selection, flags_of_command
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.io import optional_hook
from cosmos_venv.operators.base import (
    REQUIRED,
    DbtBuildMixin,
    DbtCloneMixin,
    DbtCompileMixin,
    DbtDocsMixin,
    DbtLSMixin,
    DbtRunMixin,
    DbtRunOperationMixin,
    DbtSeedMixin,
    DbtSnapshotMixin,
    DbtSourceMixin,
    DbtTestMixin,
    flags_as_texts,
    refuse_no_callbacks,
    refuse_unknown,
    refuse_wrong_shapes,
)
from cosmos_venv.operators.run.dbt_run import LocalRun
from cosmos_venv.operators.run.post_run import OpenLineageMethods, declare_alias
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.invocation import FullOutputSubprocessResult
    from cosmos_venv.operators.run.post_run import Outcome


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
        from cosmos_venv.managed import warm_start

        given = {name: value for name, value in locals().items() if name not in _NOT_STORED}
        own = self.take_own_parameters(kwargs)
        refuse_unknown(type(self), kwargs)
        refuse_wrong_shapes(given)
        if warm_dbt is not None or warm_dbt_keeps_project is not None:
            warm_start.refuse_wrong_warm_choices(warm_dbt, warm_dbt_keeps_project)
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


PAGES = ("index.html", "manifest.json", "catalog.json")
STATIC_PAGES = ("static_index.html",)


class DbtDocsLocalOperator(DbtDocsMixin, DbtLocalBaseOperator):
    """``dbt docs generate`` on the worker. Its files are in dbt's target folder when a ``callback`` is called."""

    @property
    def required_files(self) -> list[str]:
        """The files that make up the documentation: one, with the flag ``--static``."""
        is_static = "--static" in flags_of_command(self.dbt_cmd_flags, self.base_cmd)
        return list(STATIC_PAGES if is_static else PAGES)


class DbtDocsCloudLocalOperator(DbtDocsLocalOperator):
    """``dbt docs generate``, and the files uploaded; each cloud is a class of its own.

    Parameters of its own: ``connection_id`` and ``bucket_name``, required, and ``folder_dir``, which the files' keys
    begin with.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {
        "connection_id": REQUIRED,
        "bucket_name": REQUIRED,
        "folder_dir": None,
    }
    #: what the keys of uploaded files are told to begin with in the log.
    scheme: ClassVar[str]
    connection_id: str
    bucket_name: str
    folder_dir: str | None

    @abstractmethod
    def upload(self, file: Path, key: str) -> None:
        """Put the file into the bucket, over one that is there.

        :raises AirflowException: when the provider is not installed, with its package.
        """

    def _after_success(self, outcome: Outcome) -> None:
        self.log.info("Attempting to upload generated docs to %s://%s", self.scheme, self.bucket_name)
        for name in self.required_files:
            file = outcome.artifacts.target / name
            if not file.is_file():
                raise AirflowException(f"dbt docs generate has left no {name} in its target folder; nothing to upload.")
            key = f"{self.folder_dir.rstrip('/')}/{name}" if self.folder_dir else name
            self.log.info("Uploading %s to %s://%s/%s", name, self.scheme, self.bucket_name, key)
            self.upload(file, key)


class DbtDocsS3LocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to S3."""

    old_names: ClassVar[Mapping[str, str]] = {"aws_conn_id": "connection_id"}
    scheme = "s3"
    ui_color = "#FF9900"

    def upload(self, file: Path, key: str) -> None:
        s3_hook = optional_hook("airflow.providers.amazon.aws.hooks.s3", "S3Hook", "apache-airflow-providers-amazon")
        hook = s3_hook(aws_conn_id=self.connection_id, extra_args={"ContentType": _content_type(file)})
        hook.load_file(filename=str(file), bucket_name=self.bucket_name, key=key, replace=True)


class DbtDocsAzureStorageLocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to a container of Azure Blob Storage."""

    old_names: ClassVar[Mapping[str, str]] = {"azure_conn_id": "connection_id", "container_name": "bucket_name"}
    scheme = "wasb"
    ui_color = "#007FFF"

    def upload(self, file: Path, key: str) -> None:
        package = "apache-airflow-providers-microsoft-azure"
        hook = optional_hook("airflow.providers.microsoft.azure.hooks.wasb", "WasbHook", package)(
            wasb_conn_id=self.connection_id
        )
        content = optional_hook("azure.storage.blob", "ContentSettings", package)(content_type=_content_type(file))
        place = {"container_name": self.bucket_name, "blob_name": key}
        hook.load_file(file_path=str(file), **place, overwrite=True, content_settings=content)


class DbtDocsGCSLocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to Google Cloud Storage."""

    scheme = "gs"
    ui_color = "#4772d5"

    def upload(self, file: Path, key: str) -> None:
        gcs = "airflow.providers.google.cloud.hooks.gcs"
        hook = optional_hook(gcs, "GCSHook", "apache-airflow-providers-google")(gcp_conn_id=self.connection_id)
        hook.upload(bucket_name=self.bucket_name, object_name=key, filename=str(file), mime_type=_content_type(file))


def _content_type(file: Path) -> str:
    """A browser shows a page only if it is told that it is one."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


__all__ = [
    "AbstractDbtLocalBase",
    "DbtBuildLocalOperator",
    "DbtCloneLocalOperator",
    "DbtCompileLocalOperator",
    "DbtDocsAzureStorageLocalOperator",
    "DbtDocsCloudLocalOperator",
    "DbtDocsGCSLocalOperator",
    "DbtDocsLocalOperator",
    "DbtDocsS3LocalOperator",
    "DbtLSLocalOperator",
    "DbtLocalBaseOperator",
    "DbtRunLocalOperator",
    "DbtRunOperationLocalOperator",
    "DbtSeedLocalOperator",
    "DbtSnapshotLocalOperator",
    "DbtSourceLocalOperator",
    "DbtTestLocalOperator",
]


AbstractDbtLocalBase = DbtLocalBaseOperator


class DbtBuildLocalOperator(DbtBuildMixin, DbtLocalBaseOperator):
    """``dbt build`` on the worker.

    Parameters of its own: ``full_refresh``, a boolean or a template of one; ``log_format``, such as ``json``;
    ``on_warning_callback``, called with the context, ``test_names`` and ``test_results`` after dbt has succeeded.
    """


class DbtLSLocalOperator(DbtLSMixin, DbtLocalBaseOperator):
    """``dbt ls`` on the worker."""


class DbtSeedLocalOperator(DbtSeedMixin, DbtLocalBaseOperator):
    """``dbt seed`` on the worker. Parameter of its own: ``full_refresh``, a boolean or a template of one.

    Rendered with SeedRenderingBehavior.WHEN_SEED_CHANGES, it runs dbt only for content that it has not loaded last.
    """

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], **kwargs: Any
    ) -> FullOutputSubprocessResult:
        run = partial(super().run_command, cmd, env, context, **kwargs)
        if not context.get(ONLY_IF_CHANGED):
            return run()
        from cosmos_venv.operators.seeds.seed_load import run_if_changed  # other tasks need nothing of it

        return run_if_changed(self, cmd, env, dict(context), run)


class DbtSnapshotLocalOperator(DbtSnapshotMixin, DbtLocalBaseOperator):
    """``dbt snapshot`` on the worker."""


class DbtSourceLocalOperator(DbtSourceMixin, DbtLocalBaseOperator):
    """``dbt source freshness`` on the worker. Parameter of its own: ``on_warning_callback``, as for ``dbt build``."""


class DbtRunLocalOperator(DbtRunMixin, DbtLocalBaseOperator):
    """``dbt run`` on the worker. Parameter of its own: ``full_refresh``, a boolean or a template of one."""


class DbtTestLocalOperator(DbtTestMixin, DbtLocalBaseOperator):
    """``dbt test`` on the worker.

    Parameter of its own: ``on_warning_callback``, as for ``dbt build``, but called only when a test has warned.
    """


class DbtRunOperationLocalOperator(DbtRunOperationMixin, DbtLocalBaseOperator):
    """``dbt run-operation`` on the worker.

    Parameters of its own: ``macro_name``, required, and ``args``, a dict or YAML text, which may be templates.
    """


class DbtCompileLocalOperator(DbtCompileMixin, DbtLocalBaseOperator):
    """``dbt compile`` on the worker."""


class DbtCloneLocalOperator(DbtCloneMixin, DbtLocalBaseOperator):
    """``dbt clone`` on the worker. Parameter of its own: ``full_refresh``, a boolean or a template of one."""


for _operator in (
    *(DbtBuildLocalOperator, DbtCloneLocalOperator, DbtDocsCloudLocalOperator, DbtRunLocalOperator),
    *(DbtRunOperationLocalOperator, DbtSeedLocalOperator, DbtSourceLocalOperator, DbtTestLocalOperator),
):
    let_map(_operator, _operator.own_parameters)

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
