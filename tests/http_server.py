"""HTTP servers on loopback, each for a block of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves the files of a folder without logging requests: log lines would mix with pytest's output."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@contextmanager
def served(handler: Callable[..., BaseRequestHandler]) -> Iterator[int]:
    """Serve HTTP on loopback within the block, and yield the port.

    :param handler: makes the handler of one request, such as a handler class.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
