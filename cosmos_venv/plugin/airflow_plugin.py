"""The plugin of Airflow that the entry point ``airflow.plugins`` names.

Airflow loads plugins in every process, tasks included, but uses their pages and menus in its web server only. So
everything here is made when Airflow reads it, and nothing is made where no dbt docs are configured.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from cosmos_venv.plugin.docs_projects import Docs

logger = logging.getLogger(__name__)


class DocsApp:
    """The pages for Airflow 3, made at the first request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request.

        :param scope: the request, as ASGI describes it.
        :param receive: gives further events of the request.
        :param send: takes the answer.
        """
        from cosmos_venv.plugin.fastapi_docs import app

        await app(scope, receive, send)


class CosmosVenvPlugin(AirflowPlugin):
    """dbt docs in Airflow's UI.

    Airflow 3.0 shows no docs: it has no views of plugins, and a plugin's page does not learn which user asks.
    """

    name = "cosmos_venv"

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The pages, on Airflow 3.1 and later."""
        from cosmos_venv.plugin.docs_projects import PREFIX

        return [{"app": DocsApp(), "url_prefix": PREFIX, "name": "dbt docs"}] if _views() else []

    @property
    def external_views(self) -> list[Any]:  # type: ignore[override]
        """An entry of the menu for each project, on Airflow 3.1 and later."""
        return _views()

    @property
    def flask_blueprints(self) -> list[Any]:  # type: ignore[override]
        """The pages, on Airflow 2."""
        if _docs_for_flask() is None:
            return []
        from cosmos_venv.plugin.flask_docs import blueprint

        return [blueprint()]

    @property
    def appbuilder_menu_items(self) -> list[Any]:  # type: ignore[override]
        """One entry of the menu, on Airflow 2."""
        item = {"name": "dbt Docs", "category": "Browse", "href": "dbt_docs.docs"}
        return [] if _docs_for_flask() is None else [item]


def _docs_for_flask() -> Docs | None:
    return None if hasattr(AirflowPlugin, "fastapi_apps") else _docs()


def _docs() -> Docs | None:
    """The docs of the settings, whose problem is logged; None where nothing is configured."""
    from cosmos_venv.plugin.docs_projects import configured_docs

    docs = configured_docs()
    if docs.problem:
        logger.warning("%s", docs.problem)
    return docs if docs.projects or docs.problem else None


def _views() -> list[dict[str, Any]]:
    docs = _docs() if hasattr(AirflowPlugin, "external_views") else None
    if docs is None:
        return []
    from airflow.configuration import conf

    from cosmos_venv.plugin.docs_projects import PREFIX, docs_path

    root = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    is_one = len(docs.projects) == 1
    entries = [
        ("dbt Docs" if is_one else f"dbt Docs: {each.title}", docs_path(each.name), f"-{each.name}")
        for each in docs.projects.values()
    ]
    entries = entries or [("dbt Docs", f"{PREFIX}/", "")]  # this page shows the error in the settings
    return [
        {
            "name": name,
            "href": f"{root}{path}",
            "destination": "nav",
            "category": "browse",
            "url_route": f"dbt-docs{ending}",
        }
        for name, path, ending in entries
    ]
