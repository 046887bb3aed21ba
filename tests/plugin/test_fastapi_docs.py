"""The pages on Airflow 3: whom Airflow lets in, and what it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cosmos_venv.plugin.airflow_plugin import DocsApp
from pytest_cosmos_venv import CosmosAirflow
from tests.plugin import one_dag

PAGES = ["", "shop/", "shop/page.html"]


@pytest.fixture
def auth_manager(cosmos_airflow: CosmosAirflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An auth manager of Airflow's, whose tokens count."""
    from airflow.api_fastapi import app

    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.plugin.one_dag.OneDagAuthManager")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(tmp_path / "passwords.json"))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test " * 3)
    yield app.init_auth_manager()
    app.purge_cached_app()


@pytest.fixture
def client(auth_manager: Any, docs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A browser of nobody, and a server that shows two projects."""
    projects = {"shop": {"dir": str(docs_folder)}, "mart": {"dir": str(docs_folder), "dag_id": one_dag.DAG_ID}}
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_PROJECTS", json.dumps(projects))
    root = FastAPI()
    root.mount("/dbt-docs", DocsApp())
    return TestClient(root, base_url="http://airflow.example.com/dbt-docs/")


def log_in(client: TestClient, auth_manager: Any, name: str, role: str | None) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    client.cookies.set("_token", auth_manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role)))


@pytest.mark.parametrize("page", [*PAGES, "no-such-project/", "shop/manifest.json"])
def test_without_login_there_is_nothing(client: TestClient, page: str) -> None:
    found = client.get(page)

    assert (found.status_code, found.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize("page", PAGES)
def test_a_session_that_is_over_shows_nothing(client: TestClient, auth_manager: Any, page: str) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username="ann", role="admin")
    client.cookies.set("_token", auth_manager.generate_jwt(user, expiration_time_in_seconds=-60))

    assert client.get(page).status_code == 401


@pytest.mark.parametrize("page", PAGES)
def test_who_may_see_dags_sees_the_docs(client: TestClient, auth_manager: Any, page: str) -> None:
    log_in(client, auth_manager, "ann", "viewer")

    found = client.get(page)

    assert found.status_code == 200
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'self'" in found.headers["Content-Security-Policy"]


@pytest.mark.parametrize("page", PAGES)
def test_who_may_not_see_dags_sees_no_docs(client: TestClient, auth_manager: Any, page: str) -> None:
    log_in(client, auth_manager, "eve", None)

    found = client.get(page)

    assert found.status_code == (404 if page else 403)
    assert "shop" not in found.text


@pytest.mark.parametrize("query", ["", f"?dag_id={one_dag.DAG_ID}"])
def test_who_may_see_one_dag_sees_the_docs_that_are_for_it(client: TestClient, auth_manager: Any, query: str) -> None:
    log_in(client, auth_manager, one_dag.USER, "viewer")

    assert client.get(f"mart/page.html{query}").status_code == 200
    assert client.get(f"shop/page.html{query}").status_code == 404, "a query cannot choose the DAG"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_nothing_can_be_changed(client: TestClient, auth_manager: Any, method: str) -> None:
    log_in(client, auth_manager, "ann", "admin")

    assert client.request(method, "shop/").status_code == 405
