"""The pages on Airflow 2: a real web application with users of several roles."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.installed import AIRFLOW_2, ROOT, needs_airflow_2
from tests.plugin.docs_airflow import write_entry_points

pytestmark = [needs_airflow_2, pytest.mark.long]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the server says, by user and path, and whether its menu has the entry."""
    folder = tmp_path_factory.mktemp("airflow")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "index.html").write_text("the docs")
    projects = {"shop": {"dir": str(docs)}, "mart": {"dir": str(docs), "dag_id": "mart"}}
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__WEBSERVER__SESSION_BACKEND": "securecookie",  # SQLite has one writer at a time
        "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps(projects),
        "PYTHONPATH": f"{write_entry_points(folder / 'packages')}:{ROOT}",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [AIRFLOW_2, ROOT / "tests" / "plugin" / "flask_child.py"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_menu_leads_to_the_docs(answers: dict[str, Any]) -> None:
    assert answers["menu"] is True


def test_who_is_not_logged_in_is_led_to_the_login(answers: dict[str, Any]) -> None:
    for found in answers["said"][""].values():
        assert found["status"] in (302, 308)
        assert "shop/" not in found["text"] or "/login/" in found["headers"]["Location"]


def test_who_may_see_dags_sees_the_docs(answers: dict[str, Any]) -> None:
    said = answers["said"]["ann"]

    assert {path: found["status"] for path, found in said.items()} == {
        "": 200,
        "shop": 307,
        "shop/": 200,
        "shop/page.html": 200,
        "shop/manifest.json": 404,
        "mart/page.html": 200,
        "shop/../mart/page.html": 404,
    }
    page = said["shop/page.html"]
    assert page["text"] == "the docs"
    assert page["headers"]["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert page["headers"]["Content-Type"] == "text/html; charset=utf-8"


def test_who_has_no_role_sees_nothing(answers: dict[str, Any]) -> None:
    for found in answers["said"]["eve"].values():
        assert found["status"] == 403
        assert "the docs" not in found["text"]


def test_who_may_see_one_dag_sees_the_docs_that_are_for_it(answers: dict[str, Any]) -> None:
    said = answers["said"]["mona"]

    assert said["mart/page.html"]["text"] == "the docs"
    assert said["shop/page.html"]["status"] == 404
    assert "mart/" in said[""]["text"]
    assert "shop/" not in said[""]["text"]
