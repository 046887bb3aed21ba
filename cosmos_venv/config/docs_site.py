"""The addresses of the pages in the documentation that ``dbt docs generate`` makes."""

from __future__ import annotations

from urllib.parse import quote

_WITH_A_PAGE = frozenset(
    """
    analysis exposure function macro metric model operation saved_query seed semantic_model snapshot source test
    unit_test
    """.split()
)


def docs_url(base: str, unique_id: str) -> str:
    """The URL of a node's page in published dbt docs.

    :param base: the URL of the docs: of their folder, or of the page itself; what stands behind a ``#`` is dropped.
    :param unique_id: dbt's id of the node; where its type has no page, the URL is that of the overview.
    """
    kind = unique_id.partition(".")[0]
    place = f"{kind}/{quote(unique_id, safe='')}" if kind in _WITH_A_PAGE else "overview"
    return f"{base.partition('#')[0]}#!/{place}"
