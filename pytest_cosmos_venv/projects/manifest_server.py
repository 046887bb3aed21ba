"""Who carries the answers over a real connection? A server on loopback, with a thread for each request."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pytest_cosmos_venv.projects.answers import AnswerScript, Reply

PATH = "/manifest.json"
"""Where the manifest lies; everything else is 404 and no part of the script."""


class ManifestServer(ThreadingHTTPServer):
    """Serves one script from the moment it is made until it is closed.

    :param script: what it answers.
    """

    # Closing waits for the threads of the requests.
    daemon_threads = False

    def __init__(self, script: AnswerScript) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.is_closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Of the manifest."""
        return f"http://127.0.0.1:{self.server_port}{PATH}"

    def close(self) -> None:
        """End it, whatever is still being answered; no thread and no socket remain."""
        self.is_closing.set()
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            _end(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection: a client that says nothing would hold its thread."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ManifestServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: Any) -> None:
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


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the client was faster
        pass
