"""The trigger with which a model waits for its query: Airflow's own trigger, with the cost of the query added."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

_LOOKING = 10.0  # seconds


class DbtQueryTrigger(BaseTrigger):
    """Waits and cancels by Airflow's ``BigQueryInsertJobTrigger``.

    After a successful query its event also has ``bytes_billed`` and ``slot_ms``. The triggerer has imported Google's
    library anyway; the worker that resumes the task would have to import it for them.

    :param **arguments: of Airflow's trigger.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.arguments = arguments

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The import path and the arguments of the trigger, as Airflow keeps them."""
        return f"{__name__}.{type(self).__name__}", self.arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the query. Yields one event, at the end."""
        async for event in self._airflow_trigger().run():
            payload = dict(event.payload)
            if payload["status"] == "success":
                payload |= await self.cost()
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the query: somebody has marked or cleared the task (Airflow 3.3 and later)."""
        await self._airflow_trigger().on_kill()

    async def cost(self) -> dict[str, int]:
        """``bytes_billed`` and ``slot_ms`` of a query that has ended; empty where BigQuery cannot be asked."""
        cloud = import_module("airflow.providers.google.cloud.hooks.bigquery")
        in_thread = import_module("asgiref.sync").sync_to_async
        given = self.arguments
        hook = cloud.BigQueryAsyncHook(gcp_conn_id=given["conn_id"], impersonation_chain=given["impersonation_chain"])
        try:
            google = await hook.get_sync_hook()

            def look() -> Any:
                where = {"project": given["project_id"], "location": given["location"]}
                # Google's library would retry for ten minutes, and the task of a successful query would wait.
                retry = import_module("google.cloud.bigquery").DEFAULT_RETRY.with_timeout(_LOOKING)
                client = google.get_client(project_id=given["project_id"], location=given["location"])
                return client.get_job(given["job_id"], **where, retry=retry, timeout=_LOOKING)

            # In a thread of its own: in the thread that all triggers share, it would hold up the other triggers.
            job = await in_thread(look, thread_sensitive=False)()
        except Exception as error:  # noqa: BLE001 - whatever it is: BigQuery has done its work
            self.log.warning("What job %s has cost is not known: %s", given["job_id"], error)
            return {}
        return {"bytes_billed": job.total_bytes_billed, "slot_ms": job.slot_millis}

    def _airflow_trigger(self) -> Any:
        triggers = import_module("airflow.providers.google.cloud.triggers.bigquery")
        trigger = triggers.BigQueryInsertJobTrigger(**self.arguments)
        # Before Airflow 3.3 the trigger cancels the query where the task's state says that somebody has ended the task.
        trigger.task_instance = self.task_instance
        return trigger
