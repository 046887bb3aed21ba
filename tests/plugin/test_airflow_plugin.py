"""What Airflow finds by the entry point, in each of its processes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib import import_module

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from cosmos_venv.plugin.airflow_plugin import CosmosVenvPlugin, DocsApp
from tests.installed import OLDER_AIRFLOWS_3, ROOT, is_missing
from tests.plugin.docs_airflow import entry_points

needs_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has views of Flask: test_flask_docs.py")
LOADED = """
import sys
from airflow.plugins_manager import AirflowPlugin
from airflow.configuration import conf
import cosmos_venv  # which Airflow loads as a provider
before = set(sys.modules)
from cosmos_venv.plugin.airflow_plugin import CosmosVenvPlugin
CosmosVenvPlugin()
print(*sorted(set(sys.modules) - before))
"""


def test_the_entry_point_leads_to_a_plugin_of_airflow() -> None:
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()  # Airflow 2 asks those that it has

    module, _, name = entry_points()["cosmos_venv"].partition(":")
    plugin = getattr(import_module(module), name)

    assert vars(plugins_manager)["is_valid_plugin"](plugin)
    assert plugin is CosmosVenvPlugin


def test_nothing_is_there_unless_it_is_configured() -> None:
    plugin = CosmosVenvPlugin()

    assert plugin.fastapi_apps == plugin.external_views == plugin.flask_blueprints == []
    assert plugin.appbuilder_menu_items == []


@pytest.mark.long
def test_loading_it_imports_nothing_beside_itself() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(done.stdout.splitlines()[-1].split()) == {
        "cosmos_venv.plugin",
        "cosmos_venv.plugin.airflow_plugin",
    }


@needs_airflow_3
def test_each_project_has_an_entry_in_the_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    projects = {"shop": {"dir": "/srv/shop", "name": "The shop"}, "mart": {"dir": "/srv/mart"}}
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_PROJECTS", json.dumps(projects))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")

    plugin = CosmosVenvPlugin()

    (app,) = plugin.fastapi_apps
    assert isinstance(app["app"], DocsApp)
    assert app["url_prefix"] == "/dbt-docs"
    assert [(view["name"], view["href"], view["url_route"]) for view in plugin.external_views] == [
        ("dbt Docs: The shop", "/airflow/dbt-docs/shop/", "dbt-docs-shop"),
        ("dbt Docs: mart", "/airflow/dbt-docs/mart/", "dbt-docs-mart"),
    ]
    assert plugin.flask_blueprints == plugin.appbuilder_menu_items == [], "those are for Airflow 2"


@needs_airflow_3
def test_wrong_settings_are_in_the_log_and_on_a_page(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_PROJECTS", "{")

    with caplog.at_level(logging.WARNING):
        (view,) = CosmosVenvPlugin().external_views

    assert view["href"] == "/dbt-docs/"
    assert "dbt_docs_projects must be a JSON object" in caplog.text


@needs_airflow_3
def test_airflow_takes_the_views_for_its_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_DIR", "/srv/shop")

    (view,) = CosmosVenvPlugin().external_views

    assert ExternalViewResponse.model_validate(view).destination == "nav"


@pytest.mark.long
def test_airflow_3_0_shows_nothing_and_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    python = OLDER_AIRFLOWS_3["airflow30"]
    if is_missing(python):
        pytest.skip("no airflow30 at .cache/envs: make test makes it")
    monkeypatch.setenv("AIRFLOW__COSMOS__DBT_DOCS_DIR", "/srv/shop")
    names = ("fastapi_apps", "external_views", "flask_blueprints", "appbuilder_menu_items")
    code = (
        "from cosmos_venv.plugin.airflow_plugin import CosmosVenvPlugin as Plugin\n"
        f"print([getattr(Plugin(), name) for name in {names}])"
    )

    done = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[[], [], [], []]"
