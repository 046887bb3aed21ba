"""How does a test hand out a manifest over HTTP, with the faults it wants to see handled?"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import RecordList, ToolkitMisuse
from pytest_cosmos_venv.projects.answers import Answer, AnswerScript, ManifestRequest, Reply, body_of
from pytest_cosmos_venv.projects.manifest_server import ManifestServer
from pytest_cosmos_venv.projects.project import DbtProject

if TYPE_CHECKING:
    from responses import RequestsMock


@dataclass(kw_only=True)
class HttpManifest:
    """A manifest behind a URL, and a script of what the requests for it get.

    :param script: made by ``serve_manifest``.
    """

    script: AnswerScript
    _server: ManifestServer | None = None
    _is_closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, status: int = 200, *, after: float = 0.0, truncated: bool = False) -> HttpManifest:
        """Say what the next request gets, then the one after it: ``.answer(500).answer(200)``.

        The last answer holds for all further requests. Where nothing was said, all get the manifest. Who sends the
        manifest's ETag back as ``If-None-Match`` gets 304 in place of 200.

        :param after: seconds that the answer takes; it ends with the test at the latest.
        :param truncated: end the connection in the middle of the manifest.
        :raises ToolkitMisuse: no HTTP status, or ``truncated`` with another than 200.
        """
        self.script.add(Answer(status=status, after=after, is_truncated=truncated))
        return self

    def publish(self, manifest: DbtProject | Mapping[str, Any]) -> None:
        """Put another manifest in its place, with another ETag: that of a project after an edit, for one."""
        self.script.body = body_of(_data(manifest))

    @property
    def url(self) -> str:
        """Where it is; the server on 127.0.0.1 starts when this is asked for."""
        if self._server is None:
            self._server = ManifestServer(self.script)
        return self._server.url

    @property
    def requests(self) -> list[ManifestRequest]:
        """What was asked so far, and the status that each got."""
        return RecordList(
            self.script.requests,
            of="requests",
            none="nobody has asked for the manifest",
            word=lambda request: f"{request.method} {request.path}: {request.status}",
        )

    @contextmanager
    def responses(self, url: str) -> Iterator[RequestsMock]:
        """The same script without a server, for code that uses ``requests``: with ``responses``, at any address.

        :param url: such as ``https://artifacts.example/manifest.json``.
        """
        from responses import RequestsMock

        with RequestsMock(assert_all_requests_are_fired=False) as mock:
            for method in (mock.GET, mock.HEAD):
                mock.add_callback(method, url, callback=self._call, content_type=None)
            yield mock

    def close(self) -> None:
        """End the server and all answers that still take their time."""
        self._is_closing.set()
        if self._server is not None:
            self._server.close()

    def _call(self, request: Any) -> tuple[int, Mapping[str, str], bytes]:
        reply = self.script.reply(request.method, request.path_url, request.headers)
        self._pass_time(reply, request.req_kwargs.get("timeout"))
        if request.method == "HEAD":  # has no body that could end too early
            return reply.status, reply.headers, b""
        _break_off(reply)
        return reply.status, reply.headers, reply.body

    def _pass_time(self, reply: Reply, timeout: Any) -> None:
        from requests.exceptions import ReadTimeout

        patience = timeout[1] if isinstance(timeout, tuple) else timeout
        if patience is not None and patience < reply.after:
            raise ReadTimeout(f"Read timed out. (read timeout={patience})")
        if reply.after:
            self._is_closing.wait(reply.after)


def serve_manifest(manifest: DbtProject | Mapping[str, Any]) -> HttpManifest:
    """A manifest to be handed out.

    :param manifest: its content, or a project, whose manifest as it is now is taken.
    """
    return HttpManifest(script=AnswerScript(body=body_of(_data(manifest))))


def _data(manifest: DbtProject | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(manifest, DbtProject):
        return manifest.manifest_data()
    if not isinstance(manifest, Mapping):
        raise ToolkitMisuse(
            f"cosmos_http_manifest({manifest!r}): give a project of cosmos_dbt_project, or the manifest's content; "
            "that of a file is json.loads(file.read_text())."
        )
    return manifest


def _break_off(reply: Reply) -> None:
    """As ``requests`` itself fails with a body that ends too early."""
    from requests.exceptions import ChunkedEncodingError

    if reply.is_truncated:
        sent = len(reply.body) // 2
        missing = len(reply.body) - sent
        raise ChunkedEncodingError(f"Connection broken: IncompleteRead({sent} bytes read, {missing} more expected)")
