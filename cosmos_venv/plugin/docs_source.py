"""dbt's page of one project, with its data in it.

The page of ``dbt docs generate`` fetches manifest.json and catalog.json. In a frame without an origin it cannot: so
both are put into the page, in the two places that dbt itself fills for ``dbt docs generate --static``. It then needs no
request, and is allowed none.

A page is made once for each version of its files, and kept on disk, from which all requests read it piece by piece: a
web server has at most one file of docs in memory, however many ask.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec

from cosmos_venv import settings
from cosmos_venv.credentials import mask
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import MEBIBYTE, decoded, utf_8
from cosmos_venv.files.untrusted import read_plain
from cosmos_venv.managed.caches import cache_dir
from cosmos_venv.plugin.docs_projects import DocsProject
from cosmos_venv.remote.download_cache import Copy, RemoteError
from cosmos_venv.remote.remote_file import WEB, RemoteFile

SECONDS = 30.0
"""For each file that lies elsewhere."""

_MANIFEST, _CATALOG = "manifest.json", "catalog.json"
_PLACES = {b'"MANIFEST.JSON INLINE DATA"': _MANIFEST, b'"CATALOG.JSON INLINE DATA"': _CATALOG}
_EMPTY_CATALOG = b'{"nodes": {}, "sources": {}}'
_LOADS_FILES, _HAS_DATA = b'"manifest.json"', b'"dbt_schema_version"'
_WAY_OUT = "dbt docs generate writes it."
_SETTING = "dbt_docs_max_bytes"
_PIECE = MEBIBYTE // 4
_MOST_PAGES = 100  # one for each project


class DocsUnreadable(Exception):
    """The page cannot be shown. The text says which file, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """dbt's page with its data, as it is kept on disk.

    :param version: 64 hexadecimal digits, others where a file of the page has changed.
    :param file: which is read from its present place on. ``pieces`` closes it.
    :param size: bytes of the page.
    """

    version: str
    file: BinaryIO
    size: int

    def pieces(self) -> Iterator[bytes]:
        """Give the page in pieces of a bounded size, and close the file."""
        with self.file:
            while piece := self.file.read(_PIECE):
                yield piece


def version_on_disk(project: DocsProject) -> str | None:
    """Return the version of a page whose files lie on this machine, which no file is read for; None for a URL.

    :param project: whose page it is.
    """
    if not isinstance(project.folder, Path):
        return None
    looks = []
    for name in (project.index, _MANIFEST, _CATALOG):
        try:
            found = (project.folder / name).lstat()
            looks.append([found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev])
        except OSError:
            looks.append([])
    return _digest(str(project.folder), project.index, looks)


def kept_page(project: DocsProject, version: str) -> Page | None:
    """Return the page of this version where it is kept; None where it has to be made.

    :param project: whose page it is.
    :param version: of ``version_on_disk``.
    """
    file = _kept_pages().opened(_key(project))
    if file is None:
        return None
    if file.readline(len(version) + 1) != f"{version}\n".encode():
        file.close()
        return None
    return Page(version=version, file=file, size=os.fstat(file.fileno()).st_size - file.tell())


def page_of(project: DocsProject) -> Page:
    """Return dbt's page with its data, which is made where its files have changed. One caller at a time: a file of the
    docs is in memory meanwhile.

    :param project: whose page it is.
    :raises DocsUnreadable: when a file is missing, too large, or not what it should be, or the page cannot be kept.
    """
    if (version := version_on_disk(project)) is None:
        return _page_of_url(project)
    page = kept_page(project, version) or _made(project, version, partial(_local, project))
    if version_on_disk(project) != version:
        page.file.close()
        raise DocsUnreadable(f"The docs of {project.title} are being written just now. Try again.")
    return page


_known: dict[DocsProject, tuple[str, dict[str, Mapping[str, str]]]] = {}
"""The version of the page at a URL, and those of its files as server or store name them; as many as settings name."""


def _page_of_url(project: DocsProject) -> Page:
    version, versions = _known.get(project, ("", {}))
    if versions and _is_still(project, versions) and (page := kept_page(project, version)):
        return page
    copies = {project.index: _copy(project, project.index)}
    if _has_places(copies[project.index].content, project):
        names = [_MANIFEST, *([_CATALOG] if _is_there(project, _CATALOG) else [])]
        for name in names:
            copies[name] = _copy(project, name)
            _refuse_too_large(project, sum(len(each.content) for each in copies.values()))
    version = _digest(*(hashlib.sha256(copy.content).hexdigest() for copy in copies.values()))
    contents = {name: copy.content for name, copy in copies.items()}
    page = kept_page(project, version) or _made(project, version, contents.get)
    _known[project] = version, {name: copy.version for name, copy in copies.items()}
    return page


def _is_still(project: DocsProject, versions: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether all files are of these versions. A server does not send a file that is; one without versions has none."""
    try:
        if _MANIFEST in versions and _CATALOG not in versions and _is_there(project, _CATALOG):
            return False
        return all(known and _copy_unless(project, name, known) is None for name, known in versions.items())
    except DocsUnreadable:  # such as a catalog that is gone: reading all of them says what it means
        return False


def _made(project: DocsProject, version: str, content: Callable[[str], bytes | None]) -> Page:
    """Make the page, and keep it on disk.

    :param content: of a file by its name; None for a catalog that is missing.
    """

    def pieces() -> Iterator[bytes]:
        yield f"{version}\n".encode()
        size = 0
        for piece in _page(project, content):
            size += len(piece)
            _refuse_too_large(project, size)
            yield piece

    pages = _kept_pages()
    pages.write(_key(project), pieces())
    if (page := kept_page(project, version)) is None:
        raise DocsUnreadable(
            f"The page of {project.title} cannot be kept in {pages.folder}. Make room there, or set [cosmos_venv] "
            "cache_dir to a folder that only the user of the web server may write to."
        )
    return page


def _refuse_too_large(project: DocsProject, size: int) -> None:
    limit = settings.limit(_SETTING)
    if limit.is_exceeded_by(size):
        raise DocsUnreadable(
            f"The page of {project.title} has more than [cosmos_venv] {_SETTING} = {limit.most} bytes with its data in "
            "it, of which each < takes six. Raise that if the docs are right."
        )


def _page(project: DocsProject, content: Callable[[str], bytes | None]) -> Iterator[bytes]:
    rest = content(project.index) or b""
    if not _has_places(rest, project):
        yield rest  # dbt docs generate --static has put the data in
        return
    for place in sorted(_PLACES, key=rest.index):
        before, _, rest = rest.partition(place)  # a page that names a place again shows that name
        yield before
        yield from _data(project, _PLACES[place], content(_PLACES[place]))
    yield rest


def _has_places(page: bytes, project: DocsProject) -> bool:
    if all(place in page for place in _PLACES):
        return True
    if _LOADS_FILES in page and _HAS_DATA not in page:
        raise DocsUnreadable(
            f"{project.index} of {project.title} is the page of a dbt before 1.7, which has no place for the data. "
            "Replace it by the page of a later dbt, or name that by the setting for the index."
        )
    return False


def _data(project: DocsProject, name: str, content: bytes | None) -> Iterator[bytes]:
    """The JSON of a file as a value of JavaScript inside of HTML."""
    if content is None:
        content = _EMPTY_CATALOG  # the page then shows no types of columns
    try:
        content = utf_8(content, f"{name} of {project.title}", way_out=_WAY_OUT)
        decoded(content, msgspec.json.Decoder(msgspec.Raw).decode)
    except (CosmosLoadDbtException, ValueError) as error:
        raise DocsUnreadable(f"{name} of {project.title} is no JSON: {error}") from None
    for begin in range(0, len(content), _PIECE):
        # A < stands inside of texts only. It could end the script, or begin a comment.
        yield content[begin : begin + _PIECE].replace(b"<", rb"\u003c")


def _kept_pages() -> FileCache:
    return FileCache(folder=cache_dir() / "docs-v1", suffix=".html", most=_MOST_PAGES)


def _key(project: DocsProject) -> str:
    return _digest(project.name, str(project.folder), project.index)


def _digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode(errors="surrogateescape")).hexdigest()


def _is_there(project: DocsProject, name: str) -> bool:
    with _telling(project, name):
        return _remote(project, name).exists(seconds=SECONDS)


def _copy(project: DocsProject, name: str) -> Copy:
    copy = _copy_unless(project, name, {})
    assert copy is not None  # noqa: S101 - no version was known
    return copy


def _copy_unless(project: DocsProject, name: str, known: Mapping[str, str]) -> Copy | None:
    """A file that lies elsewhere; None where it is of the known version."""
    limit = settings.limit(_SETTING)
    with _telling(project, name):
        return _remote(project, name).read(known=known, seconds=SECONDS, limit=limit, stays=True)


@contextmanager
def _telling(project: DocsProject, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = str(error) if isinstance(error, RemoteError) else reason_of(error, _WAY_OUT)
        place = mask(str(project.folder))
        raise DocsUnreadable(f"{name} of {project.title} cannot be read from {place}: {reason}") from None


def _local(project: DocsProject, name: str) -> bytes | None:
    """A file of this machine; None for a catalog that is missing."""
    place = Path(project.folder, name)
    if name == _CATALOG and not os.path.lexists(place):
        return None
    with _telling(project, name):
        # A link could lead to any file that the web server may read: whoever writes dbt docs may not choose it.
        return read_plain(place, settings.limit(_SETTING))


def _remote(project: DocsProject, name: str) -> RemoteFile:
    folder = str(project.folder)
    url = urlsplit(folder)
    if url.scheme.lower() in WEB:  # the query may be a signature
        return RemoteFile(url=url._replace(path=f"{url.path.rstrip('/')}/{name}").geturl(), conn_id=project.conn_id)
    return RemoteFile(url=f"{folder.rstrip('/')}/{name}", conn_id=project.conn_id)
