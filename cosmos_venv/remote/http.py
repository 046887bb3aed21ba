"""Files of web servers, read through requests: within a time, and only where they have changed."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cosmos_venv.compat import get_connection
from cosmos_venv.credentials import mask
from cosmos_venv.files.read_limits import Limit, UnfitFileError, read_pieces
from cosmos_venv.remote.download_cache import Copy, RemoteError, within

if TYPE_CHECKING:
    import requests

_MOST_CONNECTING = 3.0
_PIECE = 16 * 1024  # bytes as packed: so many of a gzip bomb unpack to 16 MiB
_REDIRECTS = 5
# A server that says one of these may well have the file.
_BUSY = (429, 500, 502, 503, 504)
_CONDITIONS = {"etag": "If-None-Match", "last_modified": "If-Modified-Since"}
# The extras that Airflow's HttpHook takes as options of requests, or as options of its own.
_OPTIONS = frozenset({"verify", "cert", "proxies", "trust_env", "max_redirects"})
_NO_HEADERS = frozenset({"timeout", "allow_redirects", "stream", "check_response"})
_OBJECT = re.compile(r"<[^<>]*>: ?|\w*Connection(Pool)?\(host='[^']*', port=\w+\): ?")


def exists(url: str, conn_id: str | None, *, seconds: float) -> bool:
    """Whether a server has a file. The request is a GET whose body is not read: a URL may be signed for this request
    alone.

    :param url: the URL of the file.
    :param conn_id: id of an Airflow connection with login, password and headers; None: there is none.
    :param seconds: seconds within which an answer must come.
    :raises RemoteError: when nothing can be said.
    """

    def ask() -> bool:
        with _session(conn_id, url) as session:
            response = session.get(url, timeout=_timeout(seconds), stream=True)
            response.close()
            if response.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                _refuse(response)
                return True
            return False

    # A time-out of a single read never ends a request whose server sends a byte now and then, of its headers too.
    return within(seconds, ask)


def read(
    url: str, conn_id: str | None, *, known: Mapping[str, str] | None, seconds: float, limit: Limit, stays: bool = False
) -> Copy | None:
    """A copy of a file; None where the server says that the file has not changed since the known version.

    :param url: the URL of the file.
    :param conn_id: id of an Airflow connection with login, password and headers; None: there is none.
    :param known: ``Copy.version`` of a copy that is there; None: there is none.
    :param seconds: seconds within which an answer must come.
    :param limit: the largest size, on the wire and unpacked.
    :param stays: whether a redirection to another host is refused.
    :raises RemoteError: when it cannot be had.
    """
    end = time.monotonic() + seconds
    conditions = {_CONDITIONS[name]: value for name, value in (known or {}).items() if name in _CONDITIONS}

    def ask() -> Copy | None:
        with (
            _session(conn_id, url, stays=stays) as session,
            session.get(url, headers=conditions, timeout=_timeout(seconds), stream=True) as response,
        ):
            if conditions and response.status_code == HTTPStatus.NOT_MODIFIED:
                return None
            _refuse(response)
            content = _content(response, end=end, limit=limit)
            version = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
            return Copy(content=content, version={name: value for name, value in version.items() if value})

    return within(seconds, ask)  # as above


def _content(response: requests.Response, *, end: float, limit: Limit) -> bytes:
    """The body, unpacked.

    The thread that reads checks the time itself: the parse that has gone on without it does not end it.
    """
    length = response.headers.get("Content-Length", "")
    declared = int(length) if length.isdecimal() else 0
    pieces = response.iter_content(_PIECE)

    def piece(_: int) -> bytes:
        if time.monotonic() > end:
            raise RemoteError("it did not come in time", has_answered=False)
        return next(pieces, b"")

    try:
        return read_pieces(piece, expected=declared, limit=limit, where=response.url)
    except UnfitFileError as error:
        raise RemoteError(str(error.strerror), has_answered=True) from None


def _refuse(response: requests.Response) -> None:
    if response.status_code != HTTPStatus.OK:
        said = f"the server says {response.status_code} {response.reason or ''}".rstrip()
        raise RemoteError(said, has_answered=response.status_code not in _BUSY)


def _timeout(seconds: float) -> tuple[float, float]:
    """Seconds to connect, and between two pieces."""
    return min(_MOST_CONNECTING, seconds), seconds


@contextmanager
def _session(conn_id: str | None, url: str, *, stays: bool = False) -> Iterator[requests.Session]:
    """A session; an error of requests or urllib3 within this block becomes a RemoteError. Nothing is asked twice: the
    next parse asks again."""
    import requests
    from urllib3.exceptions import HTTPError

    with requests.Session() as session, _no_word_of_urllib3():
        session.max_redirects = _REDIRECTS
        session.headers["Accept-Encoding"] = "gzip"
        _strip_headers_on_redirect(session, _authorise(session, conn_id), stays=stays)
        try:
            yield session
        except (requests.RequestException, UnicodeError, HTTPError) as error:
            # A ValueError is about the URL itself; requests does not refuse every wrong host name.
            has_answered = isinstance(error, ValueError) or not isinstance(error, requests.RequestException)
            raise RemoteError(_reason(error, url), has_answered=has_answered) from None


def _authorise(session: requests.Session, conn_id: str | None) -> Iterable[str]:
    """Log in as Airflow's HttpHook does: with login and password, and the extras as headers.

    :returns: the names of the headers.
    """
    if conn_id is None:
        return ()
    try:
        connection: Any = get_connection(conn_id)
    except Exception as error:
        raise RemoteError(f"connection {conn_id!r}: {mask(str(error))}", has_answered=True) from error
    if connection.login:
        session.auth = (connection.login, connection.password or "")
    extras = dict(connection.extra_dejson or {})
    for name in _OPTIONS & extras.keys():
        setattr(session, name, extras[name])
    unsent = _OPTIONS | _NO_HEADERS
    headers = {name: value for name, value in extras.items() if isinstance(value, str) and name not in unsent}
    session.headers.update(headers)
    return headers


def _strip_headers_on_redirect(session: requests.Session, names: Iterable[str], *, stays: bool) -> None:
    """Send these headers only to the host of the connection, not to a host that it redirects to.

    :param stays: whether a redirection to another host is an error. A redirection to https on the same host is allowed.
    """
    own: Any = session
    rebuild = own.rebuild_auth

    def rebuild_auth(request: Any, response: Any) -> None:
        if own.should_strip_auth(response.request.url, request.url):
            if stays:
                raise RemoteError("the server redirects to another host", has_answered=True)
            for name in names:
                request.headers.pop(name, None)
        rebuild(request, response)

    own.rebuild_auth = rebuild_auth


def _reason(error: Exception, url: str) -> str:
    """The reason of an error, without credentials and query."""
    cause = error.args[0] if error.args else error
    text = _OBJECT.sub("", str(getattr(cause, "reason", None) or cause))
    for secret in (urlsplit(url).query, urlsplit(url).netloc.rpartition("@")[0]):
        if secret:
            text = text.replace(secret, "…")
    return f"{type(error).__name__}: {mask(text)}"


@contextmanager
def _no_word_of_urllib3() -> Iterator[None]:
    """Keep the log of urllib3 silent: it names whole URLs, and a query may be a signature."""
    thread = threading.get_ident()

    def is_of_another(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger = logging.getLogger("urllib3.connectionpool")
    logger.addFilter(is_of_another)
    try:
        yield
    finally:
        logger.removeFilter(is_of_another)
