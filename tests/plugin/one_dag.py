"""An auth manager of Airflow 3 with a user who may see one DAG, and no others."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

DAG_ID = "mart"
USER = "mona"


class OneDagAuthManager(SimpleAuthManager):
    """A simple auth manager that lets one user see one DAG."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **rest: Any) -> bool:
        if user.username == USER:
            return details is not None and details.id == DAG_ID
        return bool(super().is_authorized_dag(user=user, details=details, **rest))
