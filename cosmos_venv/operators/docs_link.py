"""The link from a task to the page of its node in the published dbt docs.

On Airflow 2 the web server makes the link from the class that the provider's metadata names. On Airflow 3 a worker
stores the URL as an XCom when the task ends. A task that ends in the triggerer has no such XCom: then the link is only
in the task's documentation.
"""

from __future__ import annotations

from typing import Any

import attrs

from cosmos_venv import settings
from cosmos_venv.compat import BaseOperatorLink
from cosmos_venv.config.docs_site import docs_url


@attrs.define
class DbtDocsLink(BaseOperatorLink):
    """A button of the task.

    :param url: where it leads.
    """

    name = "dbt docs"
    url: str = ""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The URL.

        :param operator: not used.
        :param ti_key: not used.
        """
        return self.url


def docs_links(unique_id: str) -> tuple[DbtDocsLink, ...]:
    """The link to the page of a node; none where no docs are published.

    :param unique_id: dbt's id of the node; empty: the task has none.
    """
    base = settings.docs_base() if unique_id else ""
    return (DbtDocsLink(url=docs_url(base, unique_id)),) if base else ()
