"""A package index on loopback that serves a wheelhouse, records its requests, and fails as a test wants it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.environments import installer_variables
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.errors import RecordList, ToolkitMisuse, UnusedFaultWarning, require_seconds
from pytest_cosmos_venv.loopback import HOST, LoopbackHandler, LoopbackServer

_FAULT_WORDS = ("truncated", "wrong-hash")
_REALM = 'Basic realm="fake index"'


@dataclass(frozen=True, kw_only=True)
class IndexRequest:
    """One request to the index, with the status of its answer.

    :param method: ``GET`` or ``HEAD``.
    :param path: the path below the index: ``simple/dbt-core/`` or ``files/dbt_core-1.10.0-py3-none-any.whl``.
    :param status: the HTTP status, as it was sent; 0: the connection ended without an answer.
    :param authorised: whether the request carried the required login; None when no login was required.
    :param at: seconds since the epoch.
    """

    method: str
    path: str
    status: int
    authorised: bool | None
    at: float


@dataclass
class _Fault:
    """One fault or delay, and how many requests it has met.

    :param kind: a status, a word of ``_FAULT_WORDS``, or ``delay``.
    :param call: the call that asked for it, as the test wrote it.
    :param seconds: the time by which an answer comes later.
    """

    kind: int | str
    path: str
    call: str
    nth: Collection[int] | None = None
    seconds: float = 0.0
    met: int = 0
    has_struck: bool = False

    def strikes(self, method: str, path: str) -> bool:
        if not _fits(self.path, path):
            return False
        # Count GET only: uv sends HEAD first for some files, pip for none.
        self.met += method == "GET"
        strikes = self.nth is None or (method == "GET" and self.met in self.nth)
        self.has_struck = self.has_struck or strikes
        return strikes


@dataclass(frozen=True)
class _Answer:
    status: int
    content: bytes = b""
    content_type: str = "text/plain"
    sent: float = 1.0
    """The part of the content that is sent."""


@dataclass(kw_only=True, slots=True)
class PackageIndex:
    """A wheelhouse behind the simple repository API (PEP 503) on 127.0.0.1, for as long as it is served.

    Packages that are added to the wheelhouse later are served too.

    :param wheelhouse: the packages.
    """

    wheelhouse: Wheelhouse
    _port: int
    _changed: Callable[[PackageIndex], None] | None
    _closed: threading.Event
    # A later run may get the same port: without a token in the URL, an installer's cache would answer.
    _token: str = field(default_factory=lambda: secrets.token_hex(4))
    _login: tuple[str, str] | None = None
    _faults: list[_Fault] = field(default_factory=list)
    _requests: list[IndexRequest] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_silent: Callable[[], bool] | None = None

    @property
    def url(self) -> str:
        """The address, without a login."""
        return f"http://{HOST}:{self._port}/{self._token}/simple/"

    @property
    def url_with_login(self) -> str:
        """The address with the required login; ``url`` where no login is required."""
        if self._login is None:
            return self.url
        return self.url.replace("://", f"://{self._login[0]}:{self._login[1]}@")

    @property
    def pip_install_options(self) -> list[str]:
        """pip's options for this index with the login: for an operator's ``pip_install_options`` or ``pip install``."""
        return ["--index-url", self.url_with_login]

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the process that installs, so that it asks this index, without a proxy, and no other
        place.
        """
        return {**self.wheelhouse.variables, **installer_variables.from_index(self.url_with_login, host=HOST)}

    @property
    def requests(self) -> list[IndexRequest]:
        """The requests so far, in order."""
        with self._lock:
            return RecordList(self._requests, of="requests", none="the index was asked nothing", word=_in_words)

    def require_login(self, user: str, password: str) -> None:
        """Answer 401 from now on to requests without this login; ``pip_install_options`` carry it from now on.

        :param user: the name of the user.
        :param password: the password.
        :raises ToolkitMisuse: an address cannot carry the login as it is.
        """
        for name, value in (("user", user), ("password", password)):
            if not re.fullmatch(r"[A-Za-z0-9._~-]+", str(value or "")):
                raise ToolkitMisuse(
                    f"{name}={value!r} cannot stand in an address: take letters, digits and any of ._~-"
                )
        self._login = (user, password)
        if self._changed is not None:
            self._changed(self)

    def fault(self, kind: int | str, path: str = "*", *, nth: int | Collection[int] | None = None) -> None:
        """Answer wrongly from now on. A fault that no request has met by the end of the test is a warning.

        :param kind: a status of HTTP from 400 on; ``truncated`` (half of the promised bytes, then the end of the
            connection); ``wrong-hash`` (a file is listed with another's hash).
        :param path: the requests that are meant, as a pattern: a project (``dbt-core``, its page), a file
            (``dbt_core-*.whl``), or all.
        :param nth: only the GET requests with these numbers among those that match, counted from 1 and from now.
            Default: all. For ``wrong-hash``, each listing that names the file counts.
        :raises ToolkitMisuse: there is no such fault, or no such request.
        """
        if not (kind in _FAULT_WORDS or (isinstance(kind, int) and 400 <= kind <= 599)):
            raise ToolkitMisuse(
                f"kind={kind!r} is no fault: give a status from 400 to 599, or one of {', '.join(_FAULT_WORDS)}."
            )
        numbers = {nth} if isinstance(nth, int) else nth
        if numbers is not None and (not numbers or min(numbers) < 1):
            raise ToolkitMisuse(f"nth={nth!r} names no request: the first one is 1.")
        call = _call("fault", kind, path, *([] if nth is None else [f"nth={nth!r}"]))
        self._faults.append(_Fault(kind, path, call, nth=numbers))

    def delay(self, seconds: float, path: str = "*") -> None:
        """Answer later from now on.

        :param seconds: the time by which an answer comes later.
        :param path: the same as for ``fault``.
        :raises ToolkitMisuse: ``seconds`` is negative.
        """
        require_seconds(seconds, "seconds")
        self._faults.append(_Fault("delay", path, _call("delay", seconds, path), seconds=seconds))

    def fall_silent_while(self, is_silent: Callable[[], bool]) -> None:
        """End connections without an answer, as a server does that shuts down.

        :param is_silent: called once for each request, also by several threads at once.
        """
        self._is_silent = is_silent

    def tell_unused_faults(self) -> None:
        """Warn of each fault and delay that no request has met, after the last request."""
        asked = ", ".join(dict.fromkeys(request.path for request in self._requests)) or "nothing"
        for fault in self._faults:
            if not fault.has_struck:
                told = f"{fault.call}: no request has met it. The index was asked for: {asked}."
                warnings.warn(told, UnusedFaultWarning, stacklevel=1)

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> _Answer:
        """Return the answer to one request, and put the request on record.

        :param method: ``GET`` or ``HEAD``.
        :param path: the path of the request.
        :param headers: the headers that the client sent.
        """
        path = path.removeprefix(f"/{self._token}/")
        sent = {name.lower(): value for name, value in headers.items()}
        # An event instead of a sleep, so that the end of the test need not wait for answers.
        self._closed.wait(sum(each.seconds for each in self._striking("delay", method, path)))
        is_silent = self._is_silent is not None and self._is_silent()
        authorised = None if self._login is None else sent.get("authorization") == _basic(*self._login)
        with self._lock:
            if is_silent:
                answer = _Answer(0)
            elif authorised is False:
                answer = _Answer(401, b"A login is required.")
            else:
                answer = self._find(method, path)
            self._requests.append(
                IndexRequest(
                    method=method,
                    path=path,
                    status=answer.status,
                    authorised=authorised,
                    at=real_time.now(),
                )
            )
        return answer

    def _find(self, method: str, path: str) -> _Answer:
        # Each kind of fault counts the request, whichever of them answers it.
        struck = self._striking(int, method, path)
        sent = 0.5 if self._striking("truncated", method, path) else 1.0
        if struck:
            return _Answer(int(struck[0].kind), b"A fault that the test asked for.")
        folder, _, name = path.partition("/")
        files = {file.name: file for file in self._files()}
        if folder == "files" and name in files:
            return _Answer(200, files[name].read_bytes(), "application/octet-stream", sent)
        listed = [file for file in files.values() if _project(file.name) == _normalized(name.rstrip("/"))]
        if folder == "simple" and listed:
            return _Answer(200, self._page(listed), "text/html; charset=utf-8", sent)
        return _Answer(404, b"No such project or file.")

    def _striking(self, kind: str | type[int], method: str, path: str) -> list[_Fault]:
        """Return the faults of a kind that strike a request; the kind ``int`` means all statuses."""
        of_kind = [each for each in self._faults if kind in (each.kind, type(each.kind))]
        return [each for each in of_kind if each.strikes(method, path)]

    def _page(self, files: list[Path]) -> bytes:
        lines = [
            f'<a href="../../files/{html.escape(file.name)}#sha256={self._hash(file)}">{html.escape(file.name)}</a><br>'
            for file in files
        ]
        return "\n".join(["<!DOCTYPE html>", "<html><body>", *lines, "</body></html>", ""]).encode()

    def _hash(self, file: Path) -> str:
        # A listing that names the file counts as a request for it.
        path = f"files/{file.name}"
        is_wrong = self._striking("wrong-hash", "GET", path)
        return hashlib.sha256(b"another file" if is_wrong else file.read_bytes()).hexdigest()

    def _files(self) -> Iterator[Path]:
        for folder in self.wheelhouse.folders:
            yield from sorted(file for file in folder.iterdir() if file.name.endswith((".whl", ".tar.gz")))


@contextmanager
def serve_wheelhouse(
    wheelhouse: Wheelhouse, *, changed: Callable[[PackageIndex], None] | None = None
) -> Iterator[PackageIndex]:
    """Serve a wheelhouse on a free port of 127.0.0.1 until the end of the block. Then report unmet faults.

    :param wheelhouse: the packages.
    :param changed: called when the index requires another login from now on; None: nothing is called.
    """
    server = _Server(_Handler)
    index = server.index = PackageIndex(
        wheelhouse=wheelhouse, _port=server.server_port, _changed=changed, _closed=server.is_closing
    )
    server.start()
    try:
        yield index
    finally:
        server.close()
    index.tell_unused_faults()


class _Server(LoopbackServer):
    index: PackageIndex


class _Handler(LoopbackHandler):
    def answer(self, *, with_body: bool) -> None:
        assert isinstance(self.server, _Server)
        answer = self.server.index.answer(self.command, self.path, dict(self.headers))
        if not answer.status:
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        # The full length, even where half the content is sent: a client has to notice the missing half.
        self.send_header("Content-Length", str(len(answer.content)))
        # RFC 9110 requires this header with a 401.
        if answer.status == 401:
            self.send_header("WWW-Authenticate", _REALM)
        self.end_headers()
        if with_body:
            self.wfile.write(answer.content[: int(len(answer.content) * answer.sent)])


def _call(method: str, first: object, path: str, *more: str) -> str:
    """Return a call as the test has written it."""
    words = [repr(first), *([] if path == "*" else [repr(path)]), *more]
    return f"cosmos_dbt.index.{method}({', '.join(words)})"


def _in_words(request: IndexRequest) -> str:
    return f"{request.method} {request.path}: {request.status}"


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern matches the whole path of a request, or the last part of the path."""
    last = path.rstrip("/").rpartition("/")[2]
    return fnmatchcase(path, pattern) or fnmatchcase(last, pattern)


def _project(filename: str) -> str:
    """The project that a wheel or sdist belongs to."""
    stem = filename.removesuffix(".tar.gz")
    return _normalized(filename.partition("-")[0] if filename.endswith(".whl") else stem.rpartition("-")[0])


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
