"""The pages of dbt docs for Airflow 3.1 and later. Importing this module imports Airflow's API server."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from cosmos_venv.plugin.docs_answers import answer

app = FastAPI(title="dbt docs", openapi_url=None, docs_url=None, redoc_url=None)


@app.get("/{path:path}")
def docs(request: Request, path: str, user: Any = Depends(get_user)) -> Response:  # noqa: B008 - FastAPI's way
    """Answer a user that Airflow has recognised. Airflow refuses all others.

    :param request: the request.
    :param path: the path after the prefix of the pages.
    :param user: as Airflow's auth manager knows it.
    """

    def may_see(dag_id: str | None) -> bool:
        # Without a DAG, requires_access_dag() takes the id of a DAG from the query: the user could choose it.
        if dag_id is None:
            return bool(get_auth_manager().is_authorized_dag(method="GET", user=user))
        try:
            requires_access_dag("GET", param_dag_id=dag_id)(request, user)
        except HTTPException:
            return False
        return True

    found = answer(path, may_see=may_see, known=request.headers.get("If-None-Match"))
    return StreamingResponse(found.pieces(), status_code=found.status, headers=dict(found.headers))
