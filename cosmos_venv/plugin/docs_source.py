"""dbt's page of one project, with its data in it.

The page of ``dbt docs generate`` fetches manifest.json and catalog.json. In a frame without an origin it cannot: so
both are put into the page, in the two places that dbt itself fills for ``dbt docs generate --static``. It then needs no
request, and is allowed none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cosmos_venv import settings
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.durable_files import open_own
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import decoded, read_pieces, utf_8
from cosmos_venv.plugin.docs_projects import DocsProject
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.remote_file import WEB, RemoteFile, shown

SECONDS = 30.0
"""For each file that lies elsewhere."""

_MANIFEST, _CATALOG = "manifest.json", "catalog.json"
_PLACES = {b'"MANIFEST.JSON INLINE DATA"': _MANIFEST, b'"CATALOG.JSON INLINE DATA"': _CATALOG}
_EMPTY_CATALOG = b'{"nodes": {}, "sources": {}}'
_LOADS_FILES, _HAS_DATA = b'"manifest.json"', b'"dbt_schema_version"'
_WAY_OUT = "dbt docs generate writes it."


class DocsUnreadable(Exception):
    """The page cannot be shown. The text says which file, why, and what to do."""


def page_of(project: DocsProject) -> bytes:
    """Return dbt's page with its data.

    :param project: whose page it is.
    :raises DocsUnreadable: when a file is missing, too large, or not what it should be.
    """
    page = _read(project, project.index)
    if not all(place in page for place in _PLACES):
        if _LOADS_FILES in page and _HAS_DATA not in page:
            raise DocsUnreadable(
                f"{project.index} of {project.title} is the page of a dbt before 1.7, which has no place for the data. "
                "Replace it by the page of a later dbt, or name that by the setting for the index."
            )
        return page  # dbt docs generate --static has put the data in
    data = {place: _data(project, name) for place, name in _PLACES.items()}
    return re.sub(b"|".join(map(re.escape, data)), lambda found: data[found[0]], page)


def _data(project: DocsProject, name: str) -> bytes:
    """The JSON of a file as a value of JavaScript inside of HTML."""
    if name == _CATALOG and not _is_there(project, name):
        return _EMPTY_CATALOG  # the page then shows no types of columns
    try:
        content = utf_8(_read(project, name), f"{name} of {project.title}", way_out=_WAY_OUT)
        decoded(content, msgspec.json.Decoder(msgspec.Raw).decode)
    except (CosmosLoadDbtException, ValueError) as error:
        raise DocsUnreadable(f"{name} of {project.title} is no JSON: {error}") from error
    # A < stands inside of texts only. It could end the script, or begin a comment.
    return content.replace(b"<", rb"\u003c")


def _is_there(project: DocsProject, name: str) -> bool:
    place = _place(project, name)
    try:
        return place.exists(seconds=SECONDS) if isinstance(place, RemoteFile) else os.path.lexists(place)
    except RemoteError as error:
        raise _unreadable(project, name, str(error)) from error


def _read(project: DocsProject, name: str) -> bytes:
    place = _place(project, name)
    limit = settings.limit("dbt_docs_max_bytes")
    try:
        if isinstance(place, RemoteFile):
            copy = place.read(seconds=SECONDS, limit=limit, stays=True)
            return b"" if copy is None else copy.content
        # A link could lead to any file that the web server may read: whoever writes dbt docs may not choose it.
        with os.fdopen(open_own(place, os.O_RDONLY), "rb") as file:
            return read_pieces(file.read, expected=os.fstat(file.fileno()).st_size, limit=limit, where=str(place))
    except RemoteError as error:
        raise _unreadable(project, name, str(error)) from error
    except OSError as error:
        raise _unreadable(project, name, reason_of(error, _WAY_OUT)) from error


def _place(project: DocsProject, name: str) -> Path | RemoteFile:
    folder = project.folder
    if isinstance(folder, Path):
        return folder / name
    url = urlsplit(folder)
    if url.scheme.lower() in WEB:  # the query may be a signature
        return RemoteFile(url=url._replace(path=f"{url.path.rstrip('/')}/{name}").geturl(), conn_id=project.conn_id)
    return RemoteFile(url=f"{folder.rstrip('/')}/{name}", conn_id=project.conn_id)


def _unreadable(project: DocsProject, name: str, reason: str) -> DocsUnreadable:
    return DocsUnreadable(f"{name} of {project.title} cannot be read from {shown(str(project.folder))}: {reason}")
