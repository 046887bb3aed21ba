"""Local operators: dbt commands on the worker itself, and dbt's documentation uploaded to a cloud.

Each operator joins a command of ``base`` and the way to run it of ``local_base``. The provider of a cloud need not be
installed where the DAG is parsed. Nothing is uploaded after a failed dbt.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cosmos_venv import settings
from cosmos_venv.compat import AirflowException, BaseSensorOperator
from cosmos_venv.constants import LAST_SUCCESS, ONLY_IF_CHANGED
from cosmos_venv.dbt.command import NOTHING_TO_DO, FullOutputSubprocessResult, flags_of_command
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.io import optional_hook
from cosmos_venv.operators import base
from cosmos_venv.operators.freshness_sensor import DbtSourceFreshnessMixin
from cosmos_venv.operators.local_base import DbtLocalBaseOperator
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.operators.run.batch import Outcomes
    from cosmos_venv.operators.run.dbt_run import DbtCommand, DbtRun
    from cosmos_venv.operators.run.run_steps import Look

__all__ = [
    "AbstractDbtLocalBase",
    "DbtBatchLocalOperator",
    "DbtBuildLocalOperator",
    "DbtCloneLocalOperator",
    "DbtCompileLocalOperator",
    "DbtDepsLocalOperator",
    "DbtDocsAzureStorageLocalOperator",
    "DbtDocsCloudLocalOperator",
    "DbtDocsGCSLocalOperator",
    "DbtDocsLocalOperator",
    "DbtDocsS3LocalOperator",
    "DbtHooksLocalOperator",
    "DbtLSLocalOperator",
    "DbtLocalBaseOperator",
    "DbtRetryLocalOperator",
    "DbtRunLocalOperator",
    "DbtRunOperationLocalOperator",
    "DbtSeedLocalOperator",
    "DbtSelectLocalOperator",
    "DbtSemanticMetricViewLocalOperator",
    "DbtSnapshotLocalOperator",
    "DbtSourceFreshnessLocalSensor",
    "DbtSourceLocalOperator",
    "DbtTestLocalOperator",
]

AbstractDbtLocalBase = DbtLocalBaseOperator


class DbtBuildLocalOperator(base.DbtBuildMixin, DbtLocalBaseOperator):
    """``dbt build`` on the worker."""


class DbtBatchLocalOperator(base.DbtBuildMixin, DbtLocalBaseOperator):
    """``dbt build`` of the nodes of a batch on the worker. ``RenderConfig.batch_by`` makes batches.

    A try of the task runs what its earlier tries have not done.

    :ivar nodes: unique id of each node and test of the batch to the text by which dbt selects it.
    :ivar continuing: unique ids of the models with ``on_error: continue``. When such a model fails, nodes that read it
        are built from its former rows; so the next try runs all nodes.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {"nodes": base.REQUIRED, "continuing": ()}
    #: a race: when two runs made the alias at once, Airflow 3.3.2 failed one of them, although dbt had succeeded.
    declares_alias: ClassVar[bool] = True
    #: whether other tasks watch this task. Then it pushes the outcome of each node as an XCom.
    is_watched: ClassVar[bool] = False
    nodes: Mapping[str, str]
    continuing: Sequence[str]

    @classmethod
    def take_own_parameters(cls, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """This command's own parameters, and the rest.

        :param arguments: the arguments that no constructor has taken, by name.
        :returns: a value for each name in ``own_parameters``, and all other arguments.
        :raises CosmosValueError: when ``nodes`` is missing, or names no node.
        """
        own, rest = super().take_own_parameters(arguments)
        if not isinstance(own["nodes"], Mapping) or not own["nodes"]:
            raise CosmosValueError(
                f"nodes={own['nodes']!r} of {cls.__name__} names no node. Give unique ids and the texts by which dbt "
                "selects them, such as {'model.shop.orders': 'fqn:shop.orders'}."
            )
        return own, rest

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], *_: object, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Build the nodes that no earlier try has done.

        :param cmd: the command line, as ``build_cmd`` gives it.
        :param env: the environment variables for dbt.
        :param context: Airflow's context of the task.
        :param **kwargs: as for every local operator.
        :returns: exit code and output of dbt.
        :raises AirflowException: when a node has failed, or dbt has said nothing of it.
        """
        from cosmos_venv.operators.run.batch import run_batch

        return cast("FullOutputSubprocessResult", run_batch(self._dbt_run(cmd, env, context)))

    def _leave_out(self, context: Context | Mapping[str, Any], look: Look) -> Outcomes:
        """Called before the build. Returns the outcomes of nodes that dbt must not build, and of sources."""
        return {}


class DbtLSLocalOperator(base.DbtLSMixin, DbtLocalBaseOperator):
    """``dbt ls`` on the worker."""


class DbtSelectLocalOperator(base.DbtLSMixin, DbtLocalBaseOperator):
    """The task that evaluates a run's selection, by ``dbt ls`` on the worker. Without a selection it starts no dbt.

    From the result, the other tasks of the project know whether they are chosen.

    :ivar tasks: the nodes of each task of the project, by the task's id.
    :ivar selectors: unique id of each node and test to the text by which dbt selects it.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {"tasks": base.REQUIRED, "selectors": base.REQUIRED}
    tasks: Mapping[str, Mapping[str, Any]]
    selectors: Mapping[str, str]

    def add_cmd_flags(self) -> list[str]:
        """The flags that have dbt write the unique id of each node in a line of its own."""
        return ["--output", "json", "--output-keys", "unique_id"]

    def _changes_for_run(self, context: Context) -> dict[str, Any]:
        from cosmos_venv.operators.run.run_request import RunRequest

        request = RunRequest.of(self.run_params or {}, context)
        changes = request.changes(self) | {"select": request.select or None, "exclude": request.exclude or None}
        # A list of flags is for the commands that build and test: dbt ls knows few of them.
        if not isinstance(self.dbt_cmd_flags, Mapping):
            changes["dbt_cmd_flags"] = []
        if self.state == LAST_SUCCESS:  # each task has its own last success, and this task builds nothing
            changes |= {"state": None, "defer_to_state": False, "favor_state": False}
        return changes

    def _execute(self, context: Context, **kwargs: Any) -> Any:
        """Evaluate the selection, and push the chosen tasks and nodes.

        :param context: Airflow's context of the task.
        :param **kwargs: as for every local operator.
        :raises AirflowException: when dbt refuses the selection, with its own words.
        :raises AirflowFailException: when it chooses no task, and no other project of the DAG shares the params.
        """
        from cosmos_venv.operators.run.run_request import RunRequest, listed, push_choice

        request = RunRequest.of(self.run_params or {}, context)
        if not request.selects:
            self.log.info("This run selects and excludes nothing: all tasks run.")
            return
        result: Any = self._run_dbt(context, **kwargs)
        # dbt in this process (dbtRunner) returns its lines as ``result``.
        lines = getattr(result, "full_output", None) or getattr(result, "result", None) or ()
        push_choice(self, request, listed(lines), context)


class DbtSeedLocalOperator(base.DbtSeedMixin, DbtLocalBaseOperator):
    """``dbt seed`` on the worker.

    Rendered with SeedRenderingBehavior.WHEN_SEED_CHANGES, it runs dbt only when the content differs from the last load.
    """

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], *_: object, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run dbt. Rendered with WHEN_SEED_CHANGES, only when the content differs from what was loaded last.

        :param cmd: the command line, as ``build_cmd`` gives it.
        :param env: the environment variables for dbt.
        :param context: Airflow's context of the task.
        :param **kwargs: as for every local operator.
        :returns: exit code and output of dbt; for a seed that is not loaded, exit code 0 and no output.
        """
        run = partial(super().run_command, cmd, env, context, **kwargs)
        if not context.get(ONLY_IF_CHANGED):
            return run()
        from cosmos_venv.operators.seeds.seed_load import SeedTask, run_if_changed  # other tasks need nothing of it

        return run_if_changed(SeedTask(operator=self, context=context, command=cmd, env=env), run)


class DbtSnapshotLocalOperator(base.DbtSnapshotMixin, DbtLocalBaseOperator):
    """``dbt snapshot`` on the worker."""


class DbtSourceLocalOperator(base.DbtSourceMixin, DbtLocalBaseOperator):
    """``dbt source freshness`` on the worker."""


class DbtSourceFreshnessLocalSensor(DbtSourceFreshnessMixin, DbtSourceLocalOperator, BaseSensorOperator):
    """Waits until sources are fresh: runs ``dbt source freshness`` on the worker until no selected source is stale.

    ``poke_interval``, ``timeout``, ``soft_fail`` and the like are those of Airflow's sensors.
    """


class DbtRunLocalOperator(base.DbtRunMixin, DbtLocalBaseOperator):
    """``dbt run`` on the worker."""


class DbtSemanticMetricViewLocalOperator(base.DbtSemanticMetricViewMixin, DbtLocalBaseOperator):
    """``dbt run`` of views of metrics on the worker."""


class DbtDepsLocalOperator(base.DbtDepsMixin, DbtLocalBaseOperator):
    """``dbt deps`` on the worker, for ``LOCAL`` tasks after it on the same worker with the same dbt.

    By their default ``install_deps=True``, these tasks use the packages that are kept for the project. The project's
    folder is not written to.
    """

    def _store(self, values: Mapping[str, Any]) -> None:
        super()._store({**values, "install_deps": True})

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], *_: object, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Install the packages that no other task has installed.

        :param cmd: the command line, as ``build_cmd`` gives it.
        :param env: the environment variables for dbt.
        :param context: Airflow's context of the task.
        :param **kwargs: as for every local operator.
        :returns: exit code and output of dbt; exit code 0 and no output where there is nothing to install.
        :raises AirflowException: when packages are not kept, so that the task would have no effect.
        """
        from cosmos_venv.dbt.project_files import has_packages

        if has_packages(Path(self.project_dir)):
            if not settings.enable_cache:
                raise AirflowException(
                    "[cosmos] enable_cache is False, so packages are not kept for other tasks. Set it to True, or "
                    "remove this task: each task with install_deps=True runs dbt deps itself."
                )
            return super().run_command(cmd, env, context, **kwargs)
        self.log.info("%s lists no packages.", self.project_dir)
        return NOTHING_TO_DO


class DbtTestLocalOperator(base.DbtTestMixin, DbtLocalBaseOperator):
    """``dbt test`` on the worker."""


class DbtRunOperationLocalOperator(base.DbtRunOperationMixin, DbtLocalBaseOperator):
    """``dbt run-operation`` on the worker."""


class DbtHooksLocalOperator(base.DbtRunOperationMixin, DbtLocalBaseOperator):
    """The task that runs the hooks ``on-run-start`` or ``on-run-end`` of a project once, by ``dbt run-operation``.

    :ivar task_nodes: as of DbtRunSummaryOperator: the tasks whose results ``on-run-end`` gets.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {**base.DbtRunOperationMixin.own_parameters, "task_nodes": None}
    task_nodes: Mapping[str, str | Sequence[str]] | None

    def _changes_for_run(self, context: Context) -> dict[str, Any]:
        from cosmos_venv.operators.run.run_request import RunRequest

        # The hooks run whatever nodes the run chooses.
        return RunRequest.of(self.run_params or {}, context).changes(self)

    def _execute(self, context: Context, **kwargs: Any) -> Any:
        from cosmos_venv.operators.run.run_artifacts import results_of
        from cosmos_venv.operators.run_summary import rows_told

        self.hook_results = [*results_of(rows_told(self.task_nodes or {}, context, self.macro_name)).values()]
        self._run_dbt(context, **kwargs)


class DbtCompileLocalOperator(base.DbtCompileMixin, DbtLocalBaseOperator):
    """``dbt compile`` on the worker."""


class DbtRetryLocalOperator(base.DbtRetryMixin, DbtLocalBaseOperator):
    """``dbt retry`` on the worker, of the nodes that failed in the run whose artifacts are at ``state`` (required)."""


class DbtCloneLocalOperator(base.DbtCloneMixin, DbtLocalBaseOperator):
    """``dbt clone`` on the worker."""


PAGES = ("index.html", "manifest.json", "catalog.json")
STATIC_PAGES = ("static_index.html",)


class DbtDocsLocalOperator(base.DbtDocsMixin, DbtLocalBaseOperator):
    """``dbt docs generate`` on the worker. Its files are in dbt's target folder when a ``callback`` is called."""

    @property
    def required_files(self) -> list[str]:
        """The files that are uploaded: the given ones, else the files of the documentation.

        With the flag ``--static`` the documentation is one file.
        """
        if (given := vars(self).get("required_files")) is not None:
            return list(given)
        is_static = "--static" in flags_of_command(self.dbt_cmd_flags, self.base_cmd)
        return list(STATIC_PAGES if is_static else PAGES)


class DbtDocsCloudLocalOperator(DbtDocsLocalOperator):
    """``dbt docs generate``, and the files uploaded; each cloud is a class of its own.

    :ivar connection_id: the Airflow connection of the cloud.
    :ivar bucket_name: the bucket or container.
    :ivar folder_dir: prefix of the files' keys; None: no prefix.
    :ivar required_files: names of files in dbt's target folder, all of which are uploaded; None: ``index.html``,
        ``manifest.json`` and ``catalog.json``, or the page of ``--static``. If one is missing, nothing is uploaded.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {
        "connection_id": base.REQUIRED,
        "bucket_name": base.REQUIRED,
        "folder_dir": None,
        "required_files": None,
    }
    #: the scheme of the uploaded files' URLs in the log, such as ``s3``.
    scheme: ClassVar[str]
    connection_id: str
    bucket_name: str
    folder_dir: str | None

    def upload(self, file: Path, key: str) -> None:
        """Put the file into the bucket; an existing file is replaced.

        :param file: one file of the documentation.
        :param key: its key in the bucket.
        :raises AirflowException: when the provider is not installed, with its package.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither upload nor upload_to_cloud_storage.")

    def _store(self, values: Mapping[str, Any]) -> None:
        kept = dict(values)
        names = kept["required_files"]
        if names is None:
            del kept["required_files"]  # a user's class may have an attribute of this name
        elif not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise CosmosValueError(
                f"required_files={names!r}: give a list of file names, such as ['manifest.json', 'catalog.json']."
            )
        super()._store(kept)

    def _after_success(self, run: DbtRun, command: DbtCommand) -> None:
        self.upload_to_cloud_storage(str(command.place), context=run.context)

    def upload_to_cloud_storage(self, project_dir: str, **kwargs: Any) -> None:
        """Upload the files, while the folder in which dbt ran is still there.

        :param project_dir: that folder.
        :param **kwargs: ``context``, which nothing here reads.
        :raises AirflowException: when dbt has not left one of the files; nothing was uploaded.
        """
        from cosmos_venv.operators.run.dbt_run import left_by

        self.log.info("Attempting to upload generated docs to %s://%s", self.scheme, self.bucket_name)
        target = left_by(self).target
        files = {name: target / name for name in self.required_files}
        for name, file in files.items():
            if not file.is_file():
                raise AirflowException(self._why_missing(name))
        for name, file in files.items():
            key = f"{self.folder_dir.rstrip('/')}/{name}" if self.folder_dir else name
            self.log.info("Uploading %s to %s://%s/%s", name, self.scheme, self.bucket_name, key)
            self.upload(file, key)

    def _why_missing(self, name: str) -> str:
        from cosmos_venv.dbt.invocation import found_executable
        from cosmos_venv.dbt.native.program import is_native

        if name != "index.html" or not is_native(found_executable(self.dbt_executable_path)):
            return f"dbt docs generate has left no {name} in its target folder; nothing was uploaded."
        return (
            "dbt 2 has left no index.html in its target folder, and nothing was uploaded: in place of docs generate it "
            "has compile --write-catalog, which makes no page. Give required_files=['manifest.json', 'catalog.json'] "
            "and serve them beside an index.html of dbt 1, or run dbt 1 here."
        )


class DbtDocsS3LocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to S3."""

    old_names: ClassVar[Mapping[str, str]] = {"aws_conn_id": "connection_id"}
    scheme = "s3"
    ui_color = "#FF9900"

    def upload(self, file: Path, key: str) -> None:
        """Put the file into the bucket of S3.

        :param file: one file of the documentation.
        :param key: its key in the bucket.
        """
        s3_hook = optional_hook("airflow.providers.amazon.aws.hooks.s3", "S3Hook", "apache-airflow-providers-amazon")
        hook = s3_hook(aws_conn_id=self.connection_id, extra_args={"ContentType": _content_type(file)})
        hook.load_file(filename=str(file), bucket_name=self.bucket_name, key=key, replace=True)


class DbtDocsAzureStorageLocalOperator(DbtDocsCloudLocalOperator):
    """``dbt docs generate``, and the files uploaded to a container of Azure Blob Storage."""

    old_names: ClassVar[Mapping[str, str]] = {"azure_conn_id": "connection_id", "container_name": "bucket_name"}
    scheme = "wasb"
    ui_color = "#007FFF"

    def upload(self, file: Path, key: str) -> None:
        """Put the file into the container.

        :param file: one file of the documentation.
        :param key: its name in the container.
        """
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
        """Put the file into the bucket of Google Cloud Storage.

        :param file: one file of the documentation.
        :param key: its name in the bucket.
        """
        gcs = "airflow.providers.google.cloud.hooks.gcs"
        hook = optional_hook(gcs, "GCSHook", "apache-airflow-providers-google")(gcp_conn_id=self.connection_id)
        hook.upload(bucket_name=self.bucket_name, object_name=key, filename=str(file), mime_type=_content_type(file))


def _content_type(file: Path) -> str:
    """The content type of a file: a browser shows a page only with the type of a page."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


base.make_own_parameters_mappable(globals())

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
