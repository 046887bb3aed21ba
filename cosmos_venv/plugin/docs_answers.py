"""The answers of the pages of dbt docs, for any web framework.

dbt's page is written by the authors of the dbt project, so it is not trusted. It stands in a sandboxed frame without an
origin. Its own headers set the same sandbox, in case it is opened outside the frame. It cannot reach Airflow's cookies
or storage, and may make no request.
"""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.plugin.docs_projects import Docs, DocsProject, configured_docs
from cosmos_venv.plugin.docs_source import DocsBusy, DocsUnreadable, Page, page_of

logger = logging.getLogger(__name__)

MaySee = Callable[[str | None], bool]
"""Whether the user may see a DAG, by its id; None: DAGs in general."""

PAGE = "page.html"
"""dbt's own page, beside the page with its frame."""

_REFRESH = "2"  # seconds until a browser asks again for a page that is being made

_SCRIPT = f"""
const frame = document.querySelector("iframe");
const show = () => {{ frame.src = "{PAGE}" + location.hash; }};
addEventListener("hashchange", show);
show();
"""
_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { margin: 2rem; }
body.docs { margin: 0; }
iframe { background: white; border: 0; display: block; height: 100vh; width: 100%; }
"""


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_FOR_ALL = {
    "Content-Type": "text/html; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Cookie, Authorization",
}
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_OURS = {
    **_FOR_ALL,
    "Cache-Control": "no-store",
    # frame-src: the frame can be led nowhere else, not even by its own script.
    "Content-Security-Policy": f"{_NOTHING}; frame-src 'self'; script-src {_hash_of(_SCRIPT)}; "
    f"style-src {_hash_of(_STYLE)}",
}
_THEIRS = {
    **_FOR_ALL,
    # The browser asks each time, so that a user who has lost access does not see a cached page.
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": f"sandbox allow-scripts; {_NOTHING}; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:",
}


@dataclass(frozen=True, kw_only=True)
class HttpResponse:
    """An answer of HTTP.

    :param status: its number.
    :param headers: by name.
    :param body: a page of ours, also in place of dbt's page.
    :param page: dbt's page, which is on disk; None: the body is all.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    page: Page | None = None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in pieces, so that no whole page is in memory while a slow browser reads it."""
        return iter([self.body] if self.body else []) if self.page is None else self.page.pieces()


def answer(path: str, *, may_see: MaySee, known: str | None = None) -> HttpResponse:
    """Return the answer for a user.

    :param path: behind ``/dbt-docs/``: empty for the list of projects, ``shop/`` for one, ``shop/page.html`` for dbt's
        page.
    :param may_see: whether Airflow lets the user, who is logged in, see a DAG.
    :param known: the header ``If-None-Match``.
    """
    docs = configured_docs()
    if not path:
        return _list(docs, may_see)
    name, slash, file = path.partition("/")
    project = docs.projects.get(name)
    # A user who may not see a project does not even learn its name.
    if project is None or file not in ("", PAGE) or not may_see(project.dag_id):
        return _page(404, "dbt docs", "<p>There is no such page, or you are not allowed to see it.</p>")
    if not slash:
        return HttpResponse(status=307, headers={**_OURS, "Location": f"{name}/", "Content-Length": "0"})
    return _theirs(project, known) if file else _frame(project)


def _list(docs: Docs, may_see: MaySee) -> HttpResponse:
    seen = [project for project in docs.projects.values() if may_see(project.dag_id)]
    if not seen and not may_see(None):
        return _page(403, "dbt docs", "<p>You are not allowed to see DAGs, nor their dbt docs.</p>")
    links = "".join(f'<li><a href="{escape(each.name)}/">{escape(each.title)}</a></li>' for each in seen)
    nothing = "" if links else escape(docs.problem) or "No dbt docs are configured: [cosmos] dbt_docs_dir is empty."
    return _page(200, "dbt docs", f"<h1>dbt docs</h1><ul>{links}</ul><p>{nothing}</p>")


def _frame(project: DocsProject) -> HttpResponse:
    frame = f'<iframe sandbox="allow-scripts" referrerpolicy="no-referrer" title="{escape(project.title)}"></iframe>'
    return _page(200, project.title, f"{frame}<script>{_SCRIPT}</script>", kind="docs")


def _theirs(project: DocsProject, known: str | None) -> HttpResponse:
    try:
        page = page_of(project)
    except DocsBusy:
        found = _page(503, project.title, "<p>dbt docs are being read. They come in a moment.</p>")
        return replace(found, headers={**found.headers, "Refresh": _REFRESH, "Retry-After": _REFRESH})
    except (DocsUnreadable, CosmosValueError) as error:
        logger.warning("dbt docs %s: %s", project.name, error)
        return _page(502, project.title, f"<p>{escape(str(error))}</p>")
    headers = {**_THEIRS, "ETag": f'"{page.version}"'}
    if page.version in (known or ""):
        page.file.close()
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(status=200, headers={**headers, "Content-Length": str(page.size)}, page=page)


def _page(status: int, title: str, content: str, *, kind: str = "text") -> HttpResponse:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style></head><body class="{kind}">{content}</body></html>'
    )
    body = text.encode()
    return HttpResponse(status=status, headers={**_OURS, "Content-Length": str(len(body))}, body=body)
