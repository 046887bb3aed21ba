"""Operators of ExecutionMode.AIRFLOW_ASYNC: a setup task that compiles all models, and a query of BigQuery for each.

A model's task needs no dbt, and no worker while its query runs. Seeds, snapshots, tests and all other nodes run dbt as
in other modes: on the worker by the operators here, or by those of ``virtualenv`` in the environment of
``ExecutionConfig.async_py_requirements``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv import compat
from cosmos_venv.compat import AirflowException, AirflowFailException, BaseOperator
from cosmos_venv.constants import DBT_SETUP_ASYNC_TASK_ID
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators import base, local, virtualenv
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.bigquery.statement import CompiledModel
    from cosmos_venv.operators.queries.model_query import ModelQuery
    from cosmos_venv.operators.run.dbt_run import DbtCommand, DbtRun

__all__ = [
    "DbtBuildAirflowAsyncOperator",
    "DbtCloneAirflowAsyncOperator",
    "DbtCompileAirflowAsyncOperator",
    "DbtLSAirflowAsyncOperator",
    "DbtRunAirflowAsyncOperator",
    "DbtRunOperationAirflowAsyncOperator",
    "DbtSeedAirflowAsyncOperator",
    "DbtSemanticMetricViewAirflowAsyncOperator",
    "DbtSnapshotAirflowAsyncOperator",
    "DbtSourceAirflowAsyncOperator",
    "DbtSourceFreshnessAirflowAsyncSensor",
    "DbtTestAirflowAsyncOperator",
    "SetupAsyncOperator",
    "SetupAsyncVirtualenvOperator",
    "TeardownAsyncOperator",
]

_NAMESPACE = "bigquery"
_FAILS = "__fail__"  # Airflow's name of the method of a task whose trigger has failed or timed out


class _AfterSetup:
    """A task that runs dbt after the setup task.

    :ivar producer_task_id: id of the setup task; None: there is none.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {"producer_task_id": None}
    producer_task_id: str | None


class _Setup(base.FullRefreshMixin):
    """The setup task: it compiles the models, and stores their SQL for the tasks that run it.

    :ivar compiled_nodes: unique ids of the models.
    :ivar full_refresh: dbt's ``--full-refresh``: a boolean, or a template of one. With it, a table that is to become a
        view is dropped.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {"compiled_nodes": ()}
    compiled_nodes: Sequence[str]

    def _execute(self, context: Context, **kwargs: Any) -> Any:
        """Compile the models. Without models dbt is not started.

        :param context: Airflow's context of the task.
        :param **kwargs: of ``build_and_run_cmd``.
        :raises AirflowException: when dbt fails, or there is no place for the SQL. No files of the run are left then.
        """
        from cosmos_venv.operators.queries.sql_store import delete, require_sql_store

        task: Any = self
        if not self.compiled_nodes:
            task.log.info("No model is selected: there is nothing to compile.")
            return None
        with task._failing_as_a_task():
            require_sql_store()
        try:
            return super()._execute(context, **kwargs)  # type: ignore[misc]
        except BaseException:
            # Airflow runs no teardown after a failed setup task.
            with suppress(Exception):
                delete(context, task.task_id)
            raise

    def _after_success(self, run: DbtRun, command: DbtCommand) -> None:
        from cosmos_venv.dbt.bigquery.refusals import NO_HOOKS
        from cosmos_venv.dbt.bigquery.statement import compiled_models, project_hooks
        from cosmos_venv.operators.queries.sql_store import store

        manifest = command.artifacts.content("manifest.json")
        if manifest is None:
            raise AirflowException("dbt compile has left no manifest.json. Drop --no-write-json.")
        is_full_refresh = compat.to_boolean(self.full_refresh)
        try:
            models = compiled_models(manifest, self.compiled_nodes, full_refresh=is_full_refresh)
        except ValueError as error:  # an error of the project: another try would fail in the same way
            raise AirflowFailException(str(error)) from None
        task: Any = self
        store(models, run.context)
        if hooks := project_hooks(manifest):
            task.log.warning(NO_HOOKS, ", ".join(hooks))
        task.log.info("Stored the SQL of %d models.", len(models))


class SetupAsyncOperator(_Setup, local.DbtCompileLocalOperator):
    """``dbt compile`` of all models on the worker, whose SQL is stored for the run."""


class SetupAsyncVirtualenvOperator(_Setup, virtualenv.DbtCompileVirtualenvOperator):
    """``dbt compile`` of all models in a managed virtual environment, whose SQL is stored for the run."""


class TeardownAsyncOperator(BaseOperator):
    """Deletes the SQL that is stored in files for the run.

    :param producer_task_id: id of the task that has stored it.
    :param extra_context: nothing reads it; it exists because Cosmos has it.
    :param **kwargs: of Airflow's ``BaseOperator``.
    """

    ui_color = "#877c7c"

    def __init__(
        self,
        *,
        producer_task_id: str = DBT_SETUP_ASYNC_TASK_ID,
        extra_context: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.producer_task_id = producer_task_id
        self.extra_context = dict(extra_context or {})

    def execute(self, context: Context) -> None:
        """Delete the files of this run.

        :param context: Airflow's context of the task.
        """
        from cosmos_venv.operators.queries.sql_store import delete

        self.log.info("Deleted the SQL of %d models.", delete(context, self.producer_task_id))


class DbtRunAirflowAsyncOperator(BaseOperator):
    """A model as a query of BigQuery. The task runs no dbt, and no worker waits for the query.

    The query is sent by Airflow's ``BigQueryInsertJobOperator``, and its trigger waits for it. Project, location and
    priority, ``maximum_bytes_billed``, ``job_execution_timeout_seconds``, ``job_retries`` and ``reservation`` are those
    of the profile.

    :param model_unique_id: dbt's id of the model.
    :param profile_config: where dbt's profile comes from.
    :param producer_task_id: id of the setup task.
    :param extra_context: facts of the node, as all tasks of dbt have them.
    :param emit_datasets: let Airflow know that the model's asset is updated; a boolean, or a template of one.
    :param env: environment variables that ``env_var()`` in the profile sees, over the worker's. May be a template.
    :param gcp_conn_id: the Airflow connection to Google Cloud. May be a template.
    :param location: where the query runs; None: as the profile says. May be a template.
    :param impersonation_chain: service accounts to act as; None: as the profile says. May be a template.
    :param poll_interval: seconds between two looks of the triggerer at the query.
    :param cancel_on_kill: whether the query is cancelled when the task is killed, also while it is deferred.
    :param job_labels: further labels of the job, beside the labels for DAG, task, run and node. May be a template.
    :param should_store_compiled_sql: whether the task shows its SQL, in its rendered fields and its log.
    :param **kwargs: of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        "env",
        "emit_datasets",
        "gcp_conn_id",
        "location",
        "impersonation_chain",
        "job_labels",
        "compiled_sql",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"compiled_sql": "sql"}
    ui_color = "#7352BA"
    ui_fgcolor = "#F4F2FC"
    compiled_sql = ""
    _query: ModelQuery | None = None

    def __init__(
        self,
        *,
        model_unique_id: str,
        profile_config: ProfileConfig,
        producer_task_id: str = DBT_SETUP_ASYNC_TASK_ID,
        extra_context: Mapping[str, Any] | None = None,
        emit_datasets: bool | str = True,
        env: Mapping[str, Any] | None = None,
        gcp_conn_id: str = "google_cloud_default",
        location: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 4.0,
        cancel_on_kill: bool = True,
        job_labels: Mapping[str, str] | None = None,
        should_store_compiled_sql: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_unique_id = model_unique_id
        self.profile_config = profile_config
        self.producer_task_id = producer_task_id
        self.extra_context = dict(extra_context or {})
        self.emit_datasets = emit_datasets
        # The result of another task (XComArg) is kept as it is.
        given: Any = env
        self.env: Any = dict(given) if isinstance(given, Mapping) else given or {}
        self.gcp_conn_id = gcp_conn_id
        self.location = location
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.job_labels = dict(job_labels or {})
        self.should_store_compiled_sql = should_store_compiled_sql

    def execute(self, context: Context) -> str:
        """Send the query. When it has ended, the task goes on in ``execute_complete``.

        :param context: Airflow's context of the task.
        :returns: the id of the job.
        """
        model = self._model(context)
        job_id = self._query_of(context).start(model)
        return self._done(job_id, model.table, model.sql, context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> str:
        """Continue after the trigger.

        :param context: Airflow's context of the task.
        :param event: of the trigger, with ``status`` and ``message``; after a successful query also with
            ``bytes_billed`` and ``slot_ms``, where BigQuery could be asked.
        :returns: the id of the job.
        :raises AirflowException: when the query has failed for a transient reason.
        :raises AirflowFailException: when the query has failed for a lasting reason.
        """
        from cosmos_venv.operators.queries.model_query import kept_job, log_cost

        job: Any = kept_job(context)
        job_id = str(job["job_id"])
        if "bytes_billed" in event:
            log_cost(self.log, job_id, bytes_billed=event["bytes_billed"], slot_ms=event["slot_ms"])
        if event["status"] != "success":
            query = self._query_of(context, job)
            job_id = query.ended(job, str(event.get("message")), partial(self._model, context))
        return self._done(job_id, job["table"], self._sql(context), context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume in the method that Airflow names. When the trigger has failed or timed out, cancel the query first.

        The triggerer cancels nothing then, and another try sends another query.

        :param next_method: the name of the method, or ``__fail__``.
        :param next_kwargs: its arguments.
        :param context: Airflow's context of the task.
        :returns: the method's result.
        """
        from cosmos_venv.operators.queries.model_query import kept_job

        if next_method == _FAILS and (job := kept_job(context)):
            self._query_of(context, job).cancel()
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the query that this process has sent or checks. While the task is deferred, the trigger cancels it."""
        if self._query is not None:
            self._query.cancel()

    def _model(self, context: Context) -> CompiledModel:
        from cosmos_venv.operators.queries.sql_store import fetch

        try:
            return fetch(self.model_unique_id, context, self.producer_task_id)
        except (LookupError, CosmosValueError) as error:
            raise AirflowException(str(error)) from None

    def _query_of(self, context: Context, job: Mapping[str, Any] | None = None) -> ModelQuery:
        from cosmos_venv.operators.queries.model_query import ModelQuery

        self._query = ModelQuery(self, context, job)
        return self._query

    def _sql(self, context: Context) -> str:
        """The SQL to show. It may be deleted, or be compiled anew just now; the model is built all the same."""
        from cosmos_venv.operators.queries.sql_store import fetch

        if not self.should_store_compiled_sql:
            return ""
        try:
            return fetch(self.model_unique_id, context, self.producer_task_id).sql
        except Exception as error:  # noqa: BLE001 - whatever it is: BigQuery has done its work
            self.log.warning("The SQL is not shown: %s", error)
            return ""

    def _done(self, job_id: str, table: str, sql: str, context: Context) -> str:
        self.log.info("%s is built, by job %s.", self.model_unique_id, job_id)
        if self.should_store_compiled_sql:
            self.compiled_sql = sql
            compat.show_rendered_fields(self, context)
        if compat.to_boolean(self.emit_datasets):
            from cosmos_venv.operators.run import post_run

            try:
                post_run.give(self, context, {uri: {} for uri in post_run.asset_uris(_NAMESPACE, [table])})
            except Exception as error:  # noqa: BLE001 - whatever it is: BigQuery has done its work
                self.log.warning("The asset is not given to Airflow: %s: %s", type(error).__name__, error)
        return job_id


class DbtBuildAirflowAsyncOperator(_AfterSetup, local.DbtBuildLocalOperator):
    """``dbt build`` of a function on the worker."""


class DbtSeedAirflowAsyncOperator(_AfterSetup, local.DbtSeedLocalOperator):
    """``dbt seed`` on the worker."""


class DbtSnapshotAirflowAsyncOperator(_AfterSetup, local.DbtSnapshotLocalOperator):
    """``dbt snapshot`` on the worker."""


class DbtSourceAirflowAsyncOperator(_AfterSetup, local.DbtSourceLocalOperator):
    """``dbt source freshness`` on the worker."""


class DbtSourceFreshnessAirflowAsyncSensor(_AfterSetup, local.DbtSourceFreshnessLocalSensor):
    """Waits until sources are fresh: ``dbt source freshness`` on the worker."""


class DbtSemanticMetricViewAirflowAsyncOperator(_AfterSetup, local.DbtSemanticMetricViewLocalOperator):
    """``dbt run`` of views of metrics on the worker."""


class DbtTestAirflowAsyncOperator(_AfterSetup, local.DbtTestLocalOperator):
    """``dbt test`` on the worker."""


class DbtLSAirflowAsyncOperator(_AfterSetup, local.DbtLSLocalOperator):
    """``dbt ls`` on the worker."""


class DbtRunOperationAirflowAsyncOperator(_AfterSetup, local.DbtRunOperationLocalOperator):
    """``dbt run-operation`` on the worker."""


class DbtCompileAirflowAsyncOperator(_AfterSetup, local.DbtCompileLocalOperator):
    """``dbt compile`` on the worker."""


class DbtCloneAirflowAsyncOperator(_AfterSetup, local.DbtCloneLocalOperator):
    """``dbt clone`` on the worker."""


base.make_own_parameters_mappable(globals())

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
