"""dbt's page of one project, with its data in it.

The page of ``dbt docs generate`` fetches manifest.json and catalog.json. In a frame without an origin it cannot fetch
them. So both are put into the page, in the two places that dbt itself fills for ``dbt docs generate --static``. The
page then needs no request, and is allowed none.

A page is made once for each version of its files, and kept on disk, from which all requests read it piece by piece. One
thread at a time makes a page, and no other thread waits for it. So a web server has the files of one page in memory at
most, and only one thread of Airflow is busy, however many requests come.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec

from cosmos_venv import settings
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import MEBIBYTE, decoded, read_plain, utf_8, value_of
from cosmos_venv.managed.caches import cache_dir
from cosmos_venv.plugin.docs_projects import DocsProject
from cosmos_venv.remote.download_cache import Copy, RemoteError
from cosmos_venv.remote.remote_file import WEB, RemoteFile

SECONDS = 30.0
"""The time limit for each file that is not on this machine."""

_MANIFEST, _CATALOG = "manifest.json", "catalog.json"
_PLACES = {b'"MANIFEST.JSON INLINE DATA"': _MANIFEST, b'"CATALOG.JSON INLINE DATA"': _CATALOG}
_EMPTY_CATALOG = b'{"nodes": {}, "sources": {}}'
_LOADS_FILES, _HAS_DATA = b'"manifest.json"', b'"dbt_schema_version"'
_WAY_OUT = "dbt docs generate writes it."
_SETTING = "dbt_docs_max_bytes"
_PIECE = MEBIBYTE // 4
_MOST_PAGES = 100  # one for each project
_turn = threading.Lock()


class DocsUnreadable(Exception):
    """The page cannot be shown. The text names the file, the reason and the way out."""


class DocsBusy(Exception):
    """The page cannot be shown now: a page is being made."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """dbt's page with its data, as it is kept on disk.

    :param version: 64 hexadecimal digits, which change when a file of the page changes.
    :param versions: of each file of the page: names and values that change when the file changes.
    :param file: the kept file, open after its first line. ``pieces`` reads it from there, and closes it.
    :param size: bytes of the page.
    """

    version: str
    versions: Mapping[str, Mapping[str, str]]
    file: BinaryIO
    size: int

    def pieces(self) -> Iterator[bytes]:
        """Give the page in pieces of a bounded size, and close the file."""
        with self.file:
            while piece := self.file.read(_PIECE):
                yield piece


def page_of(project: DocsProject) -> Page:
    """Return dbt's page with its data. The page is made anew where its files have changed.

    :param project: whose page it is.
    :raises DocsBusy: when another thread is making a page.
    :raises DocsUnreadable: when a file is missing, too large or invalid, or the page cannot be kept.
    """
    if (page := _kept_page(project)) is not None:
        if _is_still(project, page.versions):
            return page
        page.file.close()
    if not _turn.acquire(blocking=False):
        raise DocsBusy
    try:
        return _made(project)
    finally:
        _turn.release()


def _kept_page(project: DocsProject) -> Page | None:
    """The page that is kept; None where it has to be made."""
    file = _kept_pages().opened(_key(project))
    if file is None:
        return None
    head = file.readline()
    if (versions := value_of(head, dict[str, dict[str, str]])) is None:
        file.close()
        return None
    size = os.fstat(file.fileno()).st_size - len(head)
    return Page(version=hashlib.sha256(head).hexdigest(), versions=versions, file=file, size=size)


def _is_still(project: DocsProject, versions: Mapping[str, Mapping[str, str]]) -> bool:
    """Return whether all files still have these versions."""
    try:
        if _MANIFEST in versions and _CATALOG not in versions and _is_there(project, _CATALOG):
            return False
        return all(_copy_unless(project, name, known) is None for name, known in versions.items())
    except DocsUnreadable:  # such as a catalog that is gone: ``_made`` reads all files again, and reports it
        return False


def _made(project: DocsProject) -> Page:
    copies = _copies(project, project.index)
    if _has_places(copies[project.index].content, project):
        copies |= _copies(project, _MANIFEST, *([_CATALOG] if _is_there(project, _CATALOG) else []))
    # Where a server gives no version, the file is read for each request, and its digest tells whether it has changed.
    versions = {
        name: copy.version or {"sha256": hashlib.sha256(copy.content).hexdigest()} for name, copy in copies.items()
    }
    page = _kept_page(project)
    if page is not None and page.versions == versions:
        return page
    if page is not None:
        page.file.close()
    pages = _kept_pages()
    pages.write(_key(project), _pieces(project, versions, copies))
    if (page := _kept_page(project)) is None:
        raise DocsUnreadable(
            f"The page of {project.title} cannot be kept in {pages.folder}. Make room there, or set [cosmos_venv] "
            "cache_dir to a folder that only the user of the web server may write to."
        )
    return page


def _pieces(
    project: DocsProject, versions: Mapping[str, Mapping[str, str]], copies: Mapping[str, Copy]
) -> Iterator[bytes]:
    """The content of the file that keeps a page: the versions of its files in the first line, and the page."""
    yield msgspec.json.encode(versions) + b"\n"
    size, limit = 0, settings.limit(_SETTING)
    for piece in _page(project, copies):
        size += len(piece)
        if limit.is_exceeded_by(size):
            raise DocsUnreadable(
                f"The page of {project.title} has more than [cosmos_venv] {_SETTING} = {limit.most} bytes with its "
                "data in it (a < in the data takes six bytes). Raise the setting if the docs are right."
            )
        yield piece


def _page(project: DocsProject, copies: Mapping[str, Copy]) -> Iterator[bytes]:
    rest = copies[project.index].content
    if not _has_places(rest, project):
        yield rest  # dbt docs generate --static has put the data in
        return
    for place in sorted(_PLACES, key=rest.index):
        before, _, rest = rest.partition(place)  # only the first one is filled: a second one stays as text
        yield before
        name = _PLACES[place]
        # Without a catalog the page shows no types of columns.
        yield from _data(project, name, copies[name].content if name in copies else _EMPTY_CATALOG)
    yield rest


def _has_places(page: bytes, project: DocsProject) -> bool:
    if all(place in page for place in _PLACES):
        return True
    if _LOADS_FILES in page and _HAS_DATA not in page:
        raise DocsUnreadable(
            f"{project.index} of {project.title} is the page of a dbt before 1.7, which has no place for the data. "
            "Replace the file by the page of a later dbt, or set the name of another file as the index."
        )
    return False


def _data(project: DocsProject, name: str, content: bytes) -> Iterator[bytes]:
    """The JSON of a file as a value of JavaScript inside of HTML."""
    try:
        content = utf_8(content, f"{name} of {project.title}", way_out=_WAY_OUT)
        decoded(content, msgspec.json.Decoder(msgspec.Raw).decode)
    except (CosmosLoadDbtException, ValueError) as error:
        raise DocsUnreadable(f"{name} of {project.title} is no JSON: {error}") from None
    for begin in range(0, len(content), _PIECE):
        # In JSON a < stands only inside of texts. In HTML it could end the script, or begin a comment.
        yield content[begin : begin + _PIECE].replace(b"<", rb"\u003c")


def _kept_pages() -> FileCache:
    return FileCache(folder=cache_dir() / "docs-v1", suffix=".html", most=_MOST_PAGES)


def _key(project: DocsProject) -> str:
    facts = [project.name, str(project.folder), project.index]
    return hashlib.sha256(json.dumps(facts).encode(errors="surrogateescape")).hexdigest()


def _is_there(project: DocsProject, name: str) -> bool:
    with _telling(project, name):
        if isinstance(project.folder, Path):
            return os.path.lexists(project.folder / name)
        return _remote(project, name).exists(seconds=SECONDS)


def _copies(project: DocsProject, *names: str) -> dict[str, Copy]:
    return {name: copy for name in names if (copy := _copy_unless(project, name, {})) is not None}


def _copy_unless(project: DocsProject, name: str, known: Mapping[str, str]) -> Copy | None:
    """A file of the docs; None where it is of the known version."""
    limit = settings.limit(_SETTING)
    with _telling(project, name):
        if not isinstance(project.folder, Path):
            return _remote(project, name).read(known=known, seconds=SECONDS, limit=limit, stays=True)
        file = project.folder / name
        found = file.lstat()
        look = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]
        version = {"look": " ".join(map(str, look))}
        # A link could lead to any file that the web server may read: the authors of dbt docs must not choose the file.
        return None if known == version else Copy(content=read_plain(file, limit), version=version)


@contextmanager
def _telling(project: DocsProject, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = str(error) if isinstance(error, RemoteError) else reason_of(error, _WAY_OUT)
        place = mask(str(project.folder))
        raise DocsUnreadable(f"{name} of {project.title} cannot be read from {place}: {reason}") from None


def _remote(project: DocsProject, name: str) -> RemoteFile:
    folder = str(project.folder)
    url = urlsplit(folder)
    if url.scheme.lower() in WEB:  # the query may be a signature
        return RemoteFile(url=url._replace(path=f"{url.path.rstrip('/')}/{name}").geturl(), conn_id=project.conn_id)
    return RemoteFile(url=f"{folder.rstrip('/')}/{name}", conn_id=project.conn_id)
