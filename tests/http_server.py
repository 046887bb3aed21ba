"""HTTP servers on loopback, each for a block of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler


class QuietFiles(SimpleHTTPRequestHandler):
    """The files of a folder. No request is logged: its line would stand between those of pytest."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@contextmanager
def served(handler: Callable[..., BaseRequestHandler]) -> Iterator[int]:
    """Within this block requests are answered; gives the port of loopback.

    :param handler: makes what answers one request, such as a class.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
