"""The trigger with which a model waits for its query: Airflow's own, and what the query has cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

_LOOKING = 10.0  # seconds


class DbtQueryTrigger(BaseTrigger):
    """Waits by Airflow's ``BigQueryInsertJobTrigger``, and cancels as that does.

    Its event has ``bytes_billed`` and ``slot_ms`` too, where the query has ended well: the triggerer has Google's
    library at hand, and the worker that goes on would have to import it for them.

    :param job_id: id of the query.
    :param project_id: the project that pays for it.
    :param location: where it runs.
    :param gcp_conn_id: the Airflow connection to Google Cloud.
    :param impersonation_chain: service accounts to act as.
    :param poll_interval: seconds between two looks at the query.
    :param cancel_on_kill: whether the query is cancelled when the task is killed while it is deferred.
    """

    def __init__(
        self,
        *,
        job_id: str,
        project_id: str,
        location: str | None,
        gcp_conn_id: str,
        impersonation_chain: Any,
        poll_interval: float,
        cancel_on_kill: bool,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_id = job_id
        self.project_id = project_id
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The import path and the arguments of the trigger, as Airflow keeps them."""
        arguments = {
            "job_id": self.job_id,
            "project_id": self.project_id,
            "location": self.location,
            "gcp_conn_id": self.gcp_conn_id,
            "impersonation_chain": self.impersonation_chain,
            "poll_interval": self.poll_interval,
            "cancel_on_kill": self.cancel_on_kill,
        }
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the query. Gives one event, as the last thing."""
        async for event in self._airflow_trigger().run():
            payload = dict(event.payload)
            if payload["status"] == "success":
                payload |= await self.cost()
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the query: somebody has marked or cleared the task (Airflow 3.3 and later)."""
        await self._airflow_trigger().on_kill()

    async def cost(self) -> dict[str, int]:
        """``bytes_billed`` and ``slot_ms`` of a query that has ended; nothing where it cannot be asked for."""
        cloud = import_module("airflow.providers.google.cloud.hooks.bigquery")
        in_thread = import_module("asgiref.sync").sync_to_async
        hook = cloud.BigQueryAsyncHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        try:
            google = await hook.get_sync_hook()

            def look() -> Any:
                client = google.get_client(project_id=self.project_id, location=self.location)
                # Google's library would try for ten minutes, and a query that has ended well would wait for it.
                retry = import_module("google.cloud.bigquery").DEFAULT_RETRY.with_timeout(_LOOKING)
                where = {"project": self.project_id, "location": self.location}
                return client.get_job(self.job_id, **where, retry=retry, timeout=_LOOKING)

            # In a thread of its own: in the one that all triggers share it would hold up the others.
            job = await in_thread(look, thread_sensitive=False)()
        except Exception as error:  # noqa: BLE001 - whatever it is: BigQuery has done its work
            self.log.warning("What job %s has cost is not known: %s", self.job_id, error)
            return {}
        return {"bytes_billed": job.total_bytes_billed, "slot_ms": job.slot_millis}

    def _airflow_trigger(self) -> Any:
        trigger = import_module("airflow.providers.google.cloud.triggers.bigquery").BigQueryInsertJobTrigger(
            conn_id=self.gcp_conn_id,
            job_id=self.job_id,
            project_id=self.project_id,
            location=self.location,
            poll_interval=self.poll_interval,
            impersonation_chain=self.impersonation_chain,
            cancel_on_kill=self.cancel_on_kill,
        )
        # Before Airflow 3.3 it cancels where the state of the task says that somebody has ended it.
        trigger.task_instance = self.task_instance
        return trigger
