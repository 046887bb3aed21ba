"""A server on 127.0.0.1 with a thread for each request; closing it leaves no thread and no socket."""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


class LoopbackHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD alike, and writes no log: the requests are on record elsewhere."""

    def do_GET(self) -> None:
        """Answer with the body."""
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        """Answer the request.

        :param with_body: whether the body is sent.
        """
        raise NotImplementedError

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class LoopbackServer(ThreadingHTTPServer):
    """A server on a free port, which answers from ``start`` until ``close``.

    :param handler: answers the requests; while an answer takes time, the handler waits for ``is_closing``.
    """

    # Closing waits for the threads of the requests.
    daemon_threads = False

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__((HOST, 0), handler)
        self.is_closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """End the server, even in the middle of an answer; no thread and no socket remain.

        :raises Exception: the first error of a handler, whose client got no answer.
        """
        self.is_closing.set()
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client was faster
                pass
        self.server_close()
        if self._errors:
            raise self._errors[0]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that ``close`` can shut it down: a silent client would block its thread.

        :param request: the socket of the connection.
        :param client_address: host and port of the client.
        """
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection.

        :param request: the socket of the connection.
        """
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver calls it so
        """Keep an error for ``close``, which raises it in the test. A client that goes away is no error of the server.

        :param request: the socket of the connection.
        :param client_address: host and port of the client.
        """
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, (ConnectionError, TimeoutError)):
            self._errors.append(error)
