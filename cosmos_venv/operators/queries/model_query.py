"""The query of one model, by Airflow's own operator of BigQuery, without dbt.

A task imports Google's provider only where a query is sent, cancelled, or has failed: the import takes seconds, with
pandas and pyarrow. Neither the DAG processor nor a task that resumes after a successful query imports it. So our
operator does not inherit from Airflow's operator, and makes one when it runs.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import AirflowException, AirflowFailException, TaskDeferred
from cosmos_venv.config.validation import refuse_no_mapping
from cosmos_venv.dbt.bigquery.statement import CompiledModel, must_be_dropped
from cosmos_venv.dbt.project_files import profile_fields
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.processes.inherited_environment import inherited_environment

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig

JOB_XCOM = "bigquery_job"
"""Key of the XCom of a task, with the query that it has sent."""

RESUMES = "execute_complete"
"""The method with which the task resumes after the trigger."""

# Reasons after which BigQuery advises another try. A job with any other reason would fail again.
_TRANSIENT = frozenset(
    {"backendError", "internalError", "jobBackendError", "jobInternalError", "jobRateLimitExceeded"}
    | {"rateLimitExceeded", "tableUnavailable", "timeout"}
)
_LABEL_LENGTH = 63
_HASH_LENGTH = 8
_CANCELLING = 60.0  # seconds: Google's library would try for ten minutes


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """The fields of dbt's profile that are for queries."""

    project: str | None
    location: str | None
    impersonation_chain: Any
    priority: str | None
    maximum_bytes_billed: float | None
    timeout: float | None
    retries: int
    reservation: str | None


def kept_job(context: Context | Mapping[str, Any]) -> dict[str, Any] | None:
    """The query that the task has sent; None: it has sent none.

    It has ``job_id``, ``project_id`` and ``location`` of the job, how often it was ``retried``, and the ``table`` that
    it makes. The resumed task reads these here, not from the setup task, which may run again.

    :param context: Airflow's context of the task.
    """
    ti: Any = context["ti"]
    job: dict[str, Any] | None = ti.xcom_pull(task_ids=ti.task_id, key=JOB_XCOM, map_indexes=ti.map_index)
    return job


def log_cost(log: Any, job_id: str, *, bytes_billed: int | None, slot_ms: int | None) -> None:
    """Log the cost of a task's query.

    :param log: the logger of the task.
    :param job_id: id of the query.
    :param bytes_billed: the bytes that BigQuery bills for.
    :param slot_ms: milliseconds of its slots.
    """
    log.info("Job %s: %s bytes billed, %s ms of slots.", job_id, bytes_billed, slot_ms)


class ModelQuery:
    """The query of a model in one process of its task.

    :param task: the ``DbtRunAirflowAsyncOperator``.
    :param context: Airflow's context of the task.
    :param job: the query that it has sent before, as ``kept_job`` gives it; None: none.
    """

    def __init__(self, task: Any, context: Context | Mapping[str, Any], job: Mapping[str, Any] | None = None) -> None:
        self._task = task
        self._context = context
        self._job = job
        self._operator: Any = None

    def start(self, model: CompiledModel, *, retried: int = 0) -> str:
        """Send the query, and let the triggerer wait for it.

        :param model: the model, with its statement.
        :param retried: how often the query was sent before in this try.
        :returns: the id of the job, where it ends at once.
        :raises TaskDeferred: while the query runs.
        :raises AirflowException: for an error that another try may not have.
        :raises AirflowFailException: for an error that another try would have too.
        """
        limits = self._limits
        try:
            location = self._prepare_target(model)
        except AirflowFailException:
            raise
        except Exception as error:
            raise self._as_airflow_error(error) from error
        cls = import_module("airflow.providers.google.cloud.operators.bigquery").BigQueryInsertJobOperator
        if not self._task.should_store_compiled_sql:
            quiet = logging.getLogger(f"{__name__}.quiet")
            quiet.setLevel(logging.WARNING)  # it logs the SQL, and nothing else of use
            cls = type("Quiet", (cls,), {"log": quiet})
        operator = cls(
            task_id=self._task.task_id,
            configuration=self._configuration(model),
            project_id=limits.project or model.project,
            location=location,
            gcp_conn_id=self._task.gcp_conn_id,
            impersonation_chain=limits.impersonation_chain,
            cancel_on_kill=self._task.cancel_on_kill,
            poll_interval=self._task.poll_interval,
            execution_timeout=self._task.execution_timeout,
            deferrable=True,
        )
        # The operator is in no DAG, so it gets the DAG of the task. Airflow wraps execute() to warn about a call from
        # outside of a task, so the unwrapped method is called.
        vars(operator)["_dag"] = self._task.get_dag()
        self._operator = operator
        try:
            job_id = str(inspect.unwrap(type(operator).execute)(operator, self._context))
        except TaskDeferred:
            raise self._deferral(self._sent(model, retried)) from None
        except AirflowException as error:
            if operator.job_id is None:  # nothing was sent
                raise self._as_airflow_error(error) from error
            # The job has ended already, and not well; or the answer to the first request that sent it was lost.
            return self.ended(self._sent(model, retried), str(error), lambda: model)
        except Exception as error:
            # Perhaps the query was sent and a later step failed. Another try would run a second query beside it.
            if operator.job_id is not None:
                self._cancel(_reference(vars(operator)))
            raise self._as_airflow_error(error) from error
        if (job := getattr(operator, "_job", None)) is not None:
            log_cost(self._task.log, job_id, bytes_billed=job.total_bytes_billed, slot_ms=job.slot_millis)
        return job_id

    def ended(self, job: Mapping[str, Any], why: str, model: Callable[[], CompiledModel]) -> str:
        """Continue when the triggerer, or Airflow's operator, has reported a problem.

        :param job: the query, as ``kept_job`` gives it.
        :param why: the reported problem.
        :param model: gives the model, with its statement.
        :returns: the id of the job, where the job has ended well and only the check of the job had failed.
        :raises TaskDeferred: while the query runs, or was sent again.
        :raises AirflowException: for an error that another try may not have.
        :raises AirflowFailException: for an error that another try would have too.
        """
        try:
            found = self._hook().get_job(**_reference(job))
        except Exception as error:
            self._cancel(job)  # another try sends another query
            raise self._as_airflow_error(error, f"{why}; job {job['job_id']} cannot be asked for") from error
        if found.state != "DONE":
            self._task.log.warning("Job %s goes on, and is waited for: %s", job["job_id"], why)
            raise self._deferral(job)
        if not (problem := found.error_result):
            log_cost(self._task.log, found.job_id, bytes_billed=found.total_bytes_billed, slot_ms=found.slot_millis)
            return str(job["job_id"])
        reason = str(problem.get("reason"))
        said = (
            f"{self._task.model_unique_id}: {reason}: {problem.get('message')} (job {job['job_id']} of "
            f"{job['project_id']}, {job['location']})"
        )
        if reason not in _TRANSIENT:
            raise AirflowFailException(said)
        if job["retried"] >= self._limits.retries:
            raise AirflowException(said)
        self._task.log.warning("%s. It is sent again.", said)
        return self.start(model(), retried=job["retried"] + 1)

    def cancel(self) -> None:
        """Cancel the query that the task has sent, unless ``cancel_on_kill`` is False. Raises nothing."""
        job = self._job
        if self._operator is not None and self._operator.job_id is not None:
            job = _reference(vars(self._operator))
        if job is not None and self._task.cancel_on_kill:
            self._cancel(job)

    def _cancel(self, job: Mapping[str, Any]) -> None:
        try:
            client = self._hook().get_client(job["project_id"], job["location"])
            retry = import_module("google.cloud.bigquery").DEFAULT_RETRY.with_timeout(_CANCELLING)
            client.cancel_job(job["job_id"], project=job["project_id"], location=job["location"], retry=retry)
        except import_module("google.api_core.exceptions").NotFound:
            self._task.log.info("There is no job %s in %s to cancel.", job["job_id"], job["project_id"])
        except Exception as error:  # noqa: BLE001 - the task ends by another error, or is killed
            self._task.log.warning(
                "Job %s of %s is not cancelled, and may run on: %s", job["job_id"], job["project_id"], error
            )
        else:
            self._task.log.info("Job %s of %s is cancelled.", job["job_id"], job["project_id"])

    def _deferral(self, job: Mapping[str, Any]) -> TaskDeferred:
        """The deferral that makes the triggerer wait for a query. The query is kept in an XCom for the resumed task."""
        from cosmos_venv.operators.queries.query_trigger import DbtQueryTrigger

        # Not in the arguments of the method that resumes the task: dag.test() loses these.
        try:
            self._context["ti"].xcom_push(key=JOB_XCOM, value=dict(job))
        except Exception:
            self._cancel(job)  # the resumed task would not find the job, and another try sends another query
            raise
        trigger = DbtQueryTrigger(
            **_reference(job),
            conn_id=self._task.gcp_conn_id,
            impersonation_chain=self._limits.impersonation_chain,
            poll_interval=self._task.poll_interval,
            cancel_on_kill=self._task.cancel_on_kill,
        )
        return TaskDeferred(trigger=trigger, method_name=RESUMES, timeout=self._task.execution_timeout)

    def _sent(self, model: CompiledModel, retried: int) -> dict[str, Any]:
        """The job that Airflow's operator has sent."""
        return {**_reference(vars(self._operator)), "retried": retried, "table": model.table}

    def _hook(self) -> Any:
        return import_module("airflow.providers.google.cloud.hooks.bigquery").BigQueryHook(
            gcp_conn_id=self._task.gcp_conn_id,
            location=self._limits.location,
            impersonation_chain=self._limits.impersonation_chain,
            use_legacy_sql=False,
        )

    def _prepare_target(self, model: CompiledModel) -> str | None:
        """Make the dataset where it is missing, and drop what BigQuery would not replace, both as dbt does.

        Returns the location of the dataset: without it, jobs outside of US and EU cannot be looked up.
        """
        bigquery = import_module("google.cloud.bigquery")
        client = self._hook().get_client(self._limits.project or model.project, self._limits.location)
        dataset = bigquery.DatasetReference(model.project, model.dataset)
        not_found = import_module("google.api_core.exceptions").NotFound
        try:
            table = client.get_table(dataset.table(model.name)).to_api_repr()
        except not_found:
            try:
                found = client.get_dataset(dataset)
            except not_found:
                found = client.create_dataset(dataset, exists_ok=True)  # at the client's location
            return self._limits.location or found.location
        try:
            is_dropped = must_be_dropped(model, table)
        except ValueError as error:
            raise AirflowFailException(str(error)) from None
        if is_dropped:
            client.delete_table(dataset.table(model.name), not_found_ok=True)
            self._task.log.info("Dropped what was there as %s: BigQuery does not replace it.", model.table)
        return self._limits.location or table.get("location")

    def _configuration(self, model: CompiledModel) -> dict[str, Any]:
        limits, ti = self._limits, self._context["ti"]
        query: dict[str, Any] = {"query": model.sql, "useLegacySql": False}
        if limits.priority:
            query["priority"] = limits.priority.upper()
        if limits.maximum_bytes_billed:  # 0: no limit
            query["maximumBytesBilled"] = str(int(limits.maximum_bytes_billed))
        own = {
            "airflow-dag": ti.dag_id,
            "airflow-task": ti.task_id,
            "airflow-run": ti.run_id,
            "dbt-node": self._task.model_unique_id,
        }
        labels = {name: _label(str(each)) for name, each in {**self._task.job_labels, **own}.items()}
        found: dict[str, Any] = {"query": query, "labels": labels}
        timeout = limits.timeout if model.job_timeout is None else model.job_timeout
        if timeout:
            found["jobTimeoutMs"] = str(int(float(timeout) * 1000))
        if reservation := limits.reservation if model.reservation is None else model.reservation:
            found["reservation"] = reservation
        return found

    def _as_airflow_error(self, error: Exception, before: str = "") -> Exception:
        """The error of Google's API as an Airflow exception. An error of the request itself is not tried again."""
        is_of_request = isinstance(error, import_module("google.api_core.exceptions").ClientError)
        reasons = {str(each.get("reason")) for each in getattr(error, "errors", ()) if isinstance(each, Mapping)}
        parts = (self._task.model_unique_id, before, f"{type(error).__name__}: {error}")
        said = ": ".join(part for part in parts if part)
        if is_of_request and getattr(error, "code", None) != 429 and not reasons & _TRANSIENT:
            return AirflowFailException(said)
        return AirflowException(said)

    @cached_property
    def _limits(self) -> _Limits:
        config: ProfileConfig = self._task.profile_config
        where = f"profile {config.profile_name!r}, target {config.target_name!r}"
        where += f" of {config.profiles_yml_filepath}" if config.profiles_yml_filepath else ""
        try:
            return self._limits_of(config)
        except CosmosValueError as error:
            raise AirflowFailException(f"{self._task.model_unique_id}: {where}: {error}") from None

    def _limits_of(self, config: ProfileConfig) -> _Limits:
        refuse_no_mapping("env", self._task.env)  # an XCom of another task may hold anything
        given = {str(name): str(value) for name, value in self._task.env.items()}
        with config.ensure_profile() as (path, secrets):
            field = profile_fields(
                path,
                profile=config.profile_name,
                target=config.target_name,
                environment={**inherited_environment(), **given, **secrets},
            )

            def number(*names: str) -> float | None:
                """The field that has one of these names: dbt takes either."""
                name, value = next(((each, found) for each in names if (found := field(each)) is not None), ("", None))
                try:
                    return None if value is None else float(value)
                except (TypeError, ValueError):
                    raise CosmosValueError(f"{name} is {value!r}, which is no number") from None

            retries = number("job_retries", "retries")
            return _Limits(
                project=field("execution_project") or field("project") or field("database"),
                location=self._task.location or field("location"),
                impersonation_chain=self._task.impersonation_chain or field("impersonate_service_account"),
                priority=field("priority"),
                maximum_bytes_billed=number("maximum_bytes_billed"),
                timeout=number("job_execution_timeout_seconds", "timeout_seconds"),
                retries=1 if retries is None else int(retries),  # as dbt-bigquery does
                reservation=field("reservation"),
            )


def _reference(job: Mapping[str, Any]) -> dict[str, Any]:
    """The keys by which BigQuery finds a job."""
    return {name: job[name] for name in ("job_id", "project_id", "location")}


def _label(text: str) -> str:
    """A text as a label of BigQuery. A long text is cut, and ends with a digest that tells it from similar texts."""
    label = re.sub(r"[^a-z0-9_-]", "-", text.lower())
    if len(label) <= _LABEL_LENGTH:
        return label
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{label[: _LABEL_LENGTH - _HASH_LENGTH - 1]}-{digest}"
