"""The query of one model, by Airflow's own operator of BigQuery, without dbt.

Google's provider is imported by the process that starts a query, and by one that a query has failed: importing it takes
seconds, with pandas and pyarrow in it, which neither the DAG processor nor a task that ends well has to pay for. So
Airflow's operator is not a base of ours: ours makes one when it runs.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cosmos_venv import compat
from cosmos_venv.compat import AirflowException, AirflowFailException, TaskDeferred
from cosmos_venv.dbt.bigquery.statement import CompiledModel, drop_before
from cosmos_venv.dbt.project_files import profile_fields

if TYPE_CHECKING:
    from cosmos_venv.config import ProfileConfig

JOB_XCOM = "bigquery_job"
"""Key of the XCom of a task, with the query that it has sent."""

RESUMES = "execute_complete"
"""The method of the task that goes on behind the trigger."""

# What BigQuery advises to try again; jobs that end with anything else would end so again.
_TRANSIENT = frozenset(
    {"backendError", "internalError", "jobBackendError", "jobInternalError", "jobRateLimitExceeded"}
    | {"rateLimitExceeded", "tableUnavailable", "timeout"}
)
_LABEL_LENGTH = 63


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """How the queries of a task run.

    :param profile_config: the profile of dbt, of which project, location, limits and priority are taken.
    :param gcp_conn_id: the Airflow connection to Google Cloud.
    :param location: where the query runs; None: as the profile says.
    :param impersonation_chain: service accounts to act as; None: as the profile says.
    :param poll_interval: seconds between two looks of the triggerer.
    :param cancel_on_kill: whether a task that is killed cancels its query.
    :param labels: further labels of the job.
    """

    profile_config: ProfileConfig
    gcp_conn_id: str
    location: str | None
    impersonation_chain: Any
    poll_interval: float
    cancel_on_kill: bool
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """The fields of dbt's profile that are for queries."""

    project: str | None
    location: str | None
    impersonation_chain: Any
    priority: str | None
    most_billed: Any
    timeout: Any
    retries: int


def keep_job(context: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Keep what the task has to know of its query when it goes on.

    :param context: Airflow's context of the task.
    :param job: ``job_id``, ``project_id`` and ``location`` of the job, and how often it was ``retried``.
    """
    # Not in the arguments of the method that goes on: dag.test() loses them.
    context["ti"].xcom_push(key=JOB_XCOM, value=dict(job))


def kept_job(context: Mapping[str, Any]) -> dict[str, Any]:
    """The query that the task has sent.

    :param context: Airflow's context of the task.
    """
    ti = context["ti"]
    place = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id")}
    job: dict[str, Any] = compat.xcom(JOB_XCOM, **place, map_index=-1)
    return job


class ModelQuery:
    """The query of a model in one process of its task.

    :param task: the task, as Airflow has it.
    :param options: how queries run.
    :param unique_id: dbt's id of the model.
    """

    def __init__(self, task: Any, options: QueryOptions, unique_id: str) -> None:
        self._task = task
        self._options = options
        self._unique_id = unique_id
        self._airflows: Any = None
        self._limits = _limits(options)

    def start(self, model: CompiledModel, context: Mapping[str, Any], *, retried: int = 0) -> str:
        """Send the query, and let the triggerer wait for it.

        :param model: the model, with its statement.
        :param context: Airflow's context of the task.
        :param retried: how often the query was sent before in this try.
        :returns: the id of the job, where it ends at once.
        :raises TaskDeferred: while the query runs.
        :raises AirflowException: for what may go well in another try.
        :raises AirflowFailException: for what would go wrong again.
        """
        try:
            sql = drop_before(model, self._what_is_there(model)) + model.sql
        except ValueError as error:
            raise AirflowFailException(str(error)) from None
        except Exception as error:
            raise self._of_api(error) from error
        operator = import_module("airflow.providers.google.cloud.operators.bigquery").BigQueryInsertJobOperator(
            task_id=self._task.task_id,
            configuration=self._configuration(model, sql, context),
            project_id=self._limits.project or model.project,
            location=self._limits.location,
            gcp_conn_id=self._options.gcp_conn_id,
            impersonation_chain=self._limits.impersonation_chain,
            cancel_on_kill=self._options.cancel_on_kill,
            poll_interval=self._options.poll_interval,
            execution_timeout=self._task.execution_timeout,
            deferrable=True,
        )
        # It stands in no DAG, and takes that of the task for its own. Airflow wraps its execute() to warn where anybody
        # else calls it, and keeps the method itself.
        vars(operator)["_dag"] = self._task.get_dag()
        self._airflows = operator
        try:
            return str(inspect.unwrap(type(operator).execute)(operator, context))
        except TaskDeferred:
            keep_job(context, self._job(retried))
            raise
        except AirflowException:  # it has ended already, and not well
            return self.ended(self._job(retried), context, lambda: model)
        except Exception as error:
            raise self._of_api(error) from error

    def ended(self, job: Mapping[str, Any], context: Mapping[str, Any], model: Callable[[], CompiledModel]) -> str:
        """Go on where the triggerer, or Airflow's operator, says that something went wrong.

        :param job: ``job_id``, ``project_id`` and ``location`` of the job, and how often it was ``retried``.
        :param context: Airflow's context of the task.
        :param model: gives the model, with its statement.
        :returns: the id of the job, where it was the look at it that failed.
        :raises TaskDeferred: while the query runs, or was sent again.
        :raises AirflowException: for what may go well in another try.
        :raises AirflowFailException: for what would go wrong again.
        """
        place = {name: job[name] for name in ("job_id", "project_id", "location")}
        try:
            found = self._hook().get_job(**place)
        except Exception as error:
            raise self._of_api(error) from error
        if found.state != "DONE":
            self._task.log.warning("The triggerer could not ask for job %s, which goes on.", job["job_id"])
            self._wait(job)
        if not (problem := found.error_result):
            return str(job["job_id"])
        reason = str(problem.get("reason"))
        said = (
            f"{self._unique_id}: {reason}: {problem.get('message')} (job {job['job_id']} of {job['project_id']}, "
            f"{job['location']})"
        )
        if reason not in _TRANSIENT:
            raise AirflowFailException(said)
        if job["retried"] >= self._limits.retries:
            raise AirflowException(said)
        self._task.log.warning("%s. It is sent again.", said)
        return self.start(model(), context, retried=job["retried"] + 1)

    def cancel(self) -> None:
        """Cancel the query, where this process has sent one."""
        if self._airflows is not None:
            self._airflows.on_kill()

    def _wait(self, job: Mapping[str, Any]) -> None:
        trigger = import_module("airflow.providers.google.cloud.triggers.bigquery").BigQueryInsertJobTrigger(
            conn_id=self._options.gcp_conn_id,
            job_id=job["job_id"],
            project_id=job["project_id"],
            location=job["location"],
            poll_interval=self._options.poll_interval,
            impersonation_chain=self._limits.impersonation_chain,
            cancel_on_kill=self._options.cancel_on_kill,
        )
        self._task.defer(trigger=trigger, method_name=RESUMES, timeout=self._task.execution_timeout)

    def _job(self, retried: int) -> dict[str, Any]:
        job: Any = self._airflows
        location = job.location or getattr(getattr(job, "_job", None), "location", None)
        return {"job_id": job.job_id, "project_id": job.project_id, "location": location, "retried": retried}

    def _hook(self) -> Any:
        return import_module("airflow.providers.google.cloud.hooks.bigquery").BigQueryHook(
            gcp_conn_id=self._options.gcp_conn_id,
            location=self._limits.location,
            impersonation_chain=self._limits.impersonation_chain,
            use_legacy_sql=False,
        )

    def _what_is_there(self, model: CompiledModel) -> Mapping[str, Any] | None:
        """The table or view under the model's name; its dataset is made where it is missing, as dbt makes it."""
        bigquery = import_module("google.cloud.bigquery")
        client = self._hook().get_client(self._limits.project or model.project, self._limits.location)
        dataset = bigquery.DatasetReference(model.project, model.dataset)
        not_found = import_module("google.api_core.exceptions").NotFound
        try:
            found: Mapping[str, Any] = client.get_table(dataset.table(model.name)).to_api_repr()
        except not_found:
            try:
                client.get_dataset(dataset)
            except not_found:
                client.create_dataset(dataset, exists_ok=True)  # at the client's location
            return None
        return found

    def _configuration(self, model: CompiledModel, sql: str, context: Mapping[str, Any]) -> dict[str, Any]:
        limits, ti = self._limits, context["ti"]
        query: dict[str, Any] = {"query": sql, "useLegacySql": False}
        if limits.priority:
            query["priority"] = limits.priority.upper()
        if limits.most_billed is not None:
            query["maximumBytesBilled"] = str(limits.most_billed)
        own = {
            "airflow-dag": ti.dag_id,
            "airflow-task": ti.task_id,
            "airflow-run": ti.run_id,
            "dbt-node": self._unique_id,
        }
        labels = {name: _label(str(each)) for name, each in {**self._options.labels, **own}.items()}
        found: dict[str, Any] = {"query": query, "labels": labels}
        timeout = limits.timeout if model.job_timeout is None else model.job_timeout
        if timeout is not None:
            found["jobTimeoutMs"] = str(int(float(timeout) * 1000))
        if model.reservation:
            found["reservation"] = model.reservation
        return found

    def _of_api(self, error: Exception) -> Exception:
        """The error of Google's API as Airflow should take it: one of the request would come back in each try."""
        is_of_request = isinstance(error, import_module("google.api_core.exceptions").ClientError)
        reasons = {str(each.get("reason")) for each in getattr(error, "errors", ()) if isinstance(each, Mapping)}
        said = f"{self._unique_id}: {type(error).__name__}: {error}"
        if is_of_request and getattr(error, "code", None) != 429 and not reasons & _TRANSIENT:
            return AirflowFailException(said)
        return AirflowException(said)


def _limits(options: QueryOptions) -> _Limits:
    config = options.profile_config
    with config.ensure_profile() as (path, secrets):
        field = profile_fields(
            path, profile=config.profile_name, target=config.target_name, environment={**os.environ, **secrets}
        )
        retries = field("job_retries")
        return _Limits(
            project=field("execution_project") or field("project") or field("database"),
            location=options.location or field("location"),
            impersonation_chain=options.impersonation_chain or field("impersonate_service_account"),
            priority=field("priority"),
            most_billed=field("maximum_bytes_billed"),
            timeout=field("job_execution_timeout_seconds"),
            retries=1 if retries is None else int(retries),  # as dbt-bigquery does
        )


def _label(text: str) -> str:
    """A text as BigQuery takes it in a label."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LABEL_LENGTH]
