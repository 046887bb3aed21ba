"""Who carries the answers over a real connection? A server on loopback."""

from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from pytest_cosmos_venv.loopback import HOST, LoopbackServer
from pytest_cosmos_venv.projects.answers import AnswerScript, Reply

PATH = "/manifest.json"
"""Where the manifest lies; everything else is 404 and no part of the script."""


class ManifestServer(LoopbackServer):
    """Serves one script from the moment it is made until it is closed.

    :param script: what it answers.
    """

    def __init__(self, script: AnswerScript) -> None:
        super().__init__(_Handler)
        self.script = script
        self.start()

    @property
    def url(self) -> str:
        """Of the manifest."""
        return f"http://{HOST}:{self.server_port}{PATH}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ManifestServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Nothing: the requests are on record."""

    def _answer(self, *, with_body: bool) -> None:
        self.close_connection = True
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        reply = self.server.script.reply(self.command, self.path, dict(self.headers))
        if reply.after and self.server.is_closing.wait(reply.after):
            return
        self._send(reply, with_body=with_body)

    def _send(self, reply: Reply, *, with_body: bool) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.is_truncated else reply.body)
