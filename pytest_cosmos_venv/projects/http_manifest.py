"""A manifest that is served over HTTP, with faults such as errors, delays and truncated bodies.

A script sets the answer to each request. A server on loopback sends the answers, or the library ``responses`` returns
them to code that uses ``requests``.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import RecordList, ToolkitMisuse, require_seconds
from pytest_cosmos_venv.loopback import HOST, LoopbackHandler, LoopbackServer
from pytest_cosmos_venv.projects.project import DbtProject

if TYPE_CHECKING:
    from responses import RequestsMock

PATH = "/manifest.json"
"""The path of the manifest. Requests for other paths get 404 and do not count as requests of the script."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer of the script.

    :param status: the HTTP status.
    :param after: seconds that the answer takes.
    :param is_truncated: whether the connection ends in the middle of the manifest.
    """

    status: int
    after: float = 0.0
    is_truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class ManifestRequest:
    """One request and the status of its answer.

    :param method: ``GET`` or ``HEAD``.
    :param path: the path of the request, with its query.
    :param headers: the headers that the client sent, names in small letters.
    :param status: the HTTP status of the answer.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    status: int


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer as it goes over the wire.

    :param status: the HTTP status.
    :param headers: the headers of the answer.
    :param body: the whole body, even where the connection ends in the middle of it.
    :param after: seconds that the answer takes.
    :param is_truncated: whether the connection ends in the middle of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    after: float
    is_truncated: bool


@dataclass(kw_only=True)
class HttpManifest:
    """A manifest behind a URL, and the script of the answers to its requests.

    :param body: the manifest, as it goes over the wire.
    """

    body: bytes
    _answers: list[Answer] = field(default_factory=list)
    _requests: list[ManifestRequest] = field(default_factory=list)
    _given: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: _Server | None = None
    _is_closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, status: int = 200, *, after: float = 0.0, truncated: bool = False) -> HttpManifest:
        """Add the answer to the next request: ``.answer(500).answer(200)`` scripts two requests.

        The last answer holds for all further requests. Without a script every request gets the manifest. A client that
        sends the manifest's ETag as ``If-None-Match`` gets 304 in place of 200.

        :param status: the HTTP status.
        :param after: seconds that the answer takes; it ends with the test at the latest.
        :param truncated: whether the connection ends in the middle of the manifest.
        :raises ToolkitMisuse: the status is no HTTP status, or ``truncated`` is given with a status other than 200.
        """
        if status not in {each.value for each in HTTPStatus}:
            raise ToolkitMisuse(f"answer({status!r}): that is no HTTP status, such as 200, 404 or 503.")
        if truncated and status != HTTPStatus.OK:
            raise ToolkitMisuse(f"answer({status}, truncated=True): only the manifest itself (200) is truncated.")
        require_seconds(after, "after")
        self._answers.append(Answer(status=status, after=after, is_truncated=truncated))
        return self

    def publish(self, manifest: DbtProject | Mapping[str, Any]) -> None:
        """Replace the manifest and its ETag, for example after an edit of the project.

        :param manifest: the content of a manifest, or a project, whose present manifest is taken.
        """
        self.body = body_of(manifest)

    @property
    def url(self) -> str:
        """The address of the manifest; reading this property starts the server on 127.0.0.1."""
        if self._server is None:
            self._server = _Server(_Handler)
            self._server.manifest = self
            self._server.start()
        return f"http://{HOST}:{self._server.server_port}{PATH}"

    @property
    def requests(self) -> list[ManifestRequest]:
        """The requests so far, and the status that each got."""
        return RecordList(
            self._requests,
            of="requests",
            none="nobody has asked for the manifest",
            word=lambda request: f"{request.method} {request.path}: {request.status}",
        )

    @contextmanager
    def responses(self, url: str) -> Iterator[RequestsMock]:
        """Answer from the same script without a server, for code that uses ``requests``, through ``responses``.

        :param url: the address, such as ``https://artifacts.example/manifest.json``.
        """
        from responses import RequestsMock

        with RequestsMock(assert_all_requests_are_fired=False) as mock:
            for method in (mock.GET, mock.HEAD):
                mock.add_callback(method, url, callback=self._call, content_type=None)
            yield mock

    def close(self) -> None:
        """End the server and all delayed answers."""
        self._is_closing.set()
        if self._server is not None:
            self._server.close()

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        """Return the next answer as it goes over the wire, and keep the request on record.

        :param method: ``GET`` or ``HEAD``.
        :param path: the path of the request.
        :param headers: the headers that the client sent.
        """
        with self._lock:
            known = {name.lower(): value for name, value in headers.items()}
            answer = self._next()
            etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
            is_known = answer.status == HTTPStatus.OK and known.get("if-none-match") == etag
            status = HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus(answer.status)
            self._requests.append(ManifestRequest(method=method, path=path, headers=known, status=int(status)))
        if status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
            sent, body = {"ETag": etag, "Content-Type": "application/json"}, b"" if is_known else self.body
        else:
            has_none = status < HTTPStatus.OK or status == HTTPStatus.NO_CONTENT
            sent, body = {"Content-Type": "text/plain"}, b"" if has_none else f"{status} {status.phrase}\n".encode()
        is_truncated = answer.is_truncated and not is_known
        return Reply(status=int(status), headers=sent, body=body, after=answer.after, is_truncated=is_truncated)

    def _next(self) -> Answer:
        """Return the next answer of the script. Requests before the first ``answer`` do not count."""
        if not self._answers:
            return Answer(status=HTTPStatus.OK)
        answer = self._answers[min(self._given, len(self._answers) - 1)]
        self._given += 1
        return answer

    def _call(self, request: Any) -> tuple[int, Mapping[str, str], bytes]:
        from requests.exceptions import ChunkedEncodingError, ReadTimeout

        reply = self.reply(request.method, request.path_url, request.headers)
        timeout = request.req_kwargs.get("timeout")
        patience = timeout[1] if isinstance(timeout, tuple) else timeout
        if patience is not None and patience < reply.after:
            raise ReadTimeout(f"Read timed out. (read timeout={patience})")
        if reply.after:
            self._is_closing.wait(reply.after)
        if request.method == "HEAD":  # an answer to HEAD has no body to truncate
            return reply.status, reply.headers, b""
        if reply.is_truncated:  # in the words of ``requests`` itself
            sent = len(reply.body) // 2
            missing = len(reply.body) - sent
            raise ChunkedEncodingError(f"Connection broken: IncompleteRead({sent} bytes read, {missing} more expected)")
        return reply.status, reply.headers, reply.body


def body_of(manifest: DbtProject | Mapping[str, Any]) -> bytes:
    """Return a manifest as the body of an answer.

    :param manifest: the content of a manifest, or a project, whose present manifest is taken.
    """
    content = manifest.manifest_data() if isinstance(manifest, DbtProject) else manifest
    return json.dumps(content).encode()


class _Server(LoopbackServer):
    manifest: HttpManifest


class _Handler(LoopbackHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self, *, with_body: bool) -> None:
        self.close_connection = True
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        reply = self.server.manifest.reply(self.command, self.path, dict(self.headers))
        if reply.after and self.server.is_closing.wait(reply.after):
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.is_truncated else reply.body)
