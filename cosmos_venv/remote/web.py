"""How is a file of a web server read? Through requests, within a time, and only where it has changed."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cosmos_venv.compat import get_connection
from cosmos_venv.environments.credentials import mask
from cosmos_venv.remote.copies import Copy, RemoteError, within

if TYPE_CHECKING:
    import requests

_RETRIES = 2
_MOST_CONNECTING = 3.0
_REDIRECTS = 5
# A server that says one of these may well have the file.
_BUSY = (429, 500, 502, 503, 504)
_CONDITIONS = {"etag": "If-None-Match", "last_modified": "If-Modified-Since"}
# What Airflow's HttpHook takes among the extras as options of requests, and as its own.
_OPTIONS = frozenset({"verify", "cert", "proxies", "trust_env", "max_redirects"})
_NO_HEADERS = frozenset({"timeout", "allow_redirects", "stream", "check_response"})
_OBJECT = re.compile(r"<[^<>]*>: ?|\w*Connection(Pool)?\(host='[^']*', port=\w+\): ?")


def exists(url: str, conn_id: str | None, *, seconds: float) -> bool:
    """Whether the server has it. A server that knows no HEAD is asked for it, and its answer is not read."""
    with _session(conn_id, url) as session:
        timeout = _timeout(seconds)
        response = session.head(url, timeout=timeout, allow_redirects=True)
        if response.status_code in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
            response = session.get(url, timeout=timeout, stream=True)
        response.close()
        if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            return False
        _refuse(response)
        return True


def read(url: str, conn_id: str | None, *, known: Mapping[str, str] | None, seconds: float) -> Copy | None:
    """A copy; None where the server says that the known version is its own."""
    conditions = {_CONDITIONS[name]: value for name, value in (known or {}).items() if name in _CONDITIONS}

    def ask() -> Copy | None:
        with _session(conn_id, url) as session:
            try:
                return _copy(session, url, conditions, seconds)
            except _broken_off():  # which no try of the session's counts
                return _copy(session, url, conditions, seconds)

    # A server that sends a byte now and then keeps every time-out of a single read.
    return within(seconds, ask)


def _copy(session: requests.Session, url: str, conditions: Mapping[str, str], seconds: float) -> Copy | None:
    with session.get(url, headers=dict(conditions), timeout=_timeout(seconds), stream=True) as response:
        if conditions and response.status_code == HTTPStatus.NOT_MODIFIED:
            return None
        _refuse(response)
        content = response.content
        version = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
        return Copy(content=content, version={name: value for name, value in version.items() if value})


def _broken_off() -> tuple[type[Exception], ...]:
    from requests.exceptions import ChunkedEncodingError, ContentDecodingError

    return (ChunkedEncodingError, ContentDecodingError)


def _refuse(response: requests.Response) -> None:
    if response.status_code != HTTPStatus.OK:
        said = f"the server says {response.status_code} {response.reason or ''}".rstrip()
        raise RemoteError(said, has_answered=response.status_code not in _BUSY)


def _timeout(seconds: float) -> tuple[float, float]:
    """To connect, and between two pieces: all tries together take no longer than the whole."""
    each = seconds / (_RETRIES + 2)
    return min(_MOST_CONNECTING, each), each


@contextmanager
def _session(conn_id: str | None, url: str) -> Iterator[requests.Session]:
    """A session with tries of its own; what goes wrong within this block becomes a RemoteError."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import HTTPError
    from urllib3.util.retry import Retry

    retry = Retry(
        total=_RETRIES,
        backoff_factor=0.2,
        status_forcelist=_BUSY,
        allowed_methods={"GET", "HEAD"},
        raise_on_status=False,
        respect_retry_after_header=False,  # it may be an hour
    )
    with requests.Session() as session, _no_word_of_urllib3():
        session.max_redirects = _REDIRECTS
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        _authorise(session, conn_id)
        try:
            yield session
        except requests.RequestException as error:
            # A ValueError is about the URL itself.
            raise RemoteError(_reason(error, url), has_answered=isinstance(error, ValueError)) from None
        except (UnicodeError, HTTPError) as error:  # of a host that is none, which requests lets through
            raise RemoteError(_reason(error, url), has_answered=True) from None


def _authorise(session: requests.Session, conn_id: str | None) -> None:
    """As Airflow's HttpHook: login and password, and headers among the extras."""
    if conn_id is None:
        return
    try:
        connection: Any = get_connection(conn_id)
    except Exception as error:
        raise RemoteError(f"connection {conn_id!r}: {mask(str(error))}", has_answered=True) from error
    if connection.login:
        session.auth = (connection.login, connection.password or "")
    extras = dict(connection.extra_dejson or {})
    for name in _OPTIONS & extras.keys():
        setattr(session, name, extras.pop(name))
    for name in _NO_HEADERS:
        extras.pop(name, None)
    headers = {name: value for name, value in extras.items() if isinstance(value, str)}
    session.headers.update(headers)
    _keep_at_home(session, headers)


def _keep_at_home(session: requests.Session, names: Iterable[str]) -> None:
    """Send these headers to the host that the connection is for: not to another one to which it redirects."""
    own: Any = session
    rebuild = own.rebuild_auth

    def rebuild_auth(request: Any, response: Any) -> None:
        if own.should_strip_auth(response.request.url, request.url):
            for name in names:
                request.headers.pop(name, None)
        rebuild(request, response)

    own.rebuild_auth = rebuild_auth


def _reason(error: Exception, url: str) -> str:
    """In words that name neither credentials nor query."""
    cause = error.args[0] if error.args else error
    text = _OBJECT.sub("", str(getattr(cause, "reason", None) or cause))
    for secret in (urlsplit(url).query, urlsplit(url).netloc.rpartition("@")[0]):
        if secret:
            text = text.replace(secret, "…")
    return f"{type(error).__name__}: {mask(text)}"


@contextmanager
def _no_word_of_urllib3() -> Iterator[None]:
    """It logs whole addresses, of which the query may be a signature."""
    thread = threading.get_ident()

    def is_of_another(record: logging.LogRecord) -> bool:
        return record.thread != thread

    loggers = [logging.getLogger(f"urllib3.{name}") for name in ("connectionpool", "util.retry")]
    for logger in loggers:
        logger.addFilter(is_of_another)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_of_another)
