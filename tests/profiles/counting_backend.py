"""A secrets backend that remembers what it was asked for."""

from __future__ import annotations

from airflow.secrets.base_secrets import BaseSecretsBackend

asked: list[str] = []


class CountingBackend(BaseSecretsBackend):
    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> None:  # noqa: ARG002 - Airflow's signature
        asked.append(conn_id)
