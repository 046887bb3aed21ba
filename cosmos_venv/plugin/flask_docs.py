"""The pages of dbt docs for Airflow 2. Importing this module imports Flask."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from cosmos_venv.plugin.docs_answers import answer
from cosmos_venv.plugin.docs_projects import PREFIX


def blueprint() -> Any:
    """Return the pages as Airflow's web server takes them."""
    from airflow.auth.managers.models.resource_details import DagDetails
    from airflow.www.auth import has_access_view
    from airflow.www.extensions.init_auth_manager import get_auth_manager

    def may_see(dag_id: str | None) -> bool:
        details = None if dag_id is None else DagDetails(id=dag_id)
        return bool(get_auth_manager().is_authorized_dag(method="GET", details=details))

    @has_access_view()  # type: ignore[untyped-decorator] # sends whoever is not logged in to the login
    def docs(path: str) -> Any:
        found = answer(path, may_see=may_see, known=request.headers.get("If-None-Match"))
        return Response(found.pieces(), status=found.status, headers=dict(found.headers))

    made = Blueprint("dbt_docs", __name__, url_prefix=PREFIX)
    made.add_url_rule("/", "docs", docs, defaults={"path": ""})
    made.add_url_rule("/<path:path>", "docs", docs)
    return made
