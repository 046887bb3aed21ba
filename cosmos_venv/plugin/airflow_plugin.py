"""What Airflow finds by the entry point ``airflow.plugins``.

Airflow loads plugins in every process, tasks included, and looks at what they show in its web server alone: so
everything here is made when it is looked at, and nothing where no dbt docs are configured.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

logger = logging.getLogger(__name__)


class DocsApp:
    """The pages for Airflow 3, made at the first request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request.

        :param scope: the request, as ASGI describes it.
        :param receive: gives what else comes of it.
        :param send: takes the answer.
        """
        from cosmos_venv.plugin.fastapi_docs import app

        await app(scope, receive, send)


class CosmosVenvPlugin(AirflowPlugin):
    """dbt docs in Airflow's UI.

    Airflow 3.0 shows none: it has no views of plugins, and a browser cannot show it who asks for a plugin's page.
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
        if not _is_flask() or not _is_configured():
            return []
        from cosmos_venv.plugin.flask_docs import blueprint

        return [blueprint()]

    @property
    def appbuilder_menu_items(self) -> list[Any]:  # type: ignore[override]
        """One entry of the menu, on Airflow 2."""
        if not _is_flask() or not _is_configured():
            return []
        return [{"name": "dbt Docs", "category": "Browse", "href": "dbt_docs.docs"}]


def _is_flask() -> bool:
    return not hasattr(AirflowPlugin, "fastapi_apps")


def _is_configured() -> bool:
    from cosmos_venv.plugin.docs_projects import configured_docs

    docs = configured_docs()
    for problem in docs.problems:
        logger.warning("dbt docs: %s", problem)
    return bool(docs.projects or docs.problems)


def _views() -> list[dict[str, Any]]:
    if not hasattr(AirflowPlugin, "external_views") or not _is_configured():
        return []
    from airflow.configuration import conf

    from cosmos_venv.plugin.docs_projects import PREFIX, configured_docs, docs_path

    root = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    docs = configured_docs()
    projects = docs.projects.values()
    views = [
        {
            "name": "dbt Docs" if len(projects) == 1 else f"dbt Docs: {project.title}",
            "href": f"{root}{docs_path(project.name)}",
            "destination": "nav",
            "category": "browse",
            "url_route": f"dbt-docs-{project.name}",
        }
        for project in projects
    ]
    # The list of projects shows what is wrong with the settings.
    if docs.problems:
        views.append({**_LIST, "href": f"{root}{PREFIX}/"})
    return views


_LIST = {"name": "dbt Docs", "destination": "nav", "category": "browse", "url_route": "dbt-docs"}
