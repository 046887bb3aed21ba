"""A server of a test tells what goes wrong in its answers, and nothing of clients that go away."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from pytest_cosmos_venv.loopback import HOST, LoopbackServer


def server_that(answers: Callable[[], None]) -> LoopbackServer:
    """A server that runs, and calls a function for each request before it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = LoopbackServer(Handler)
    server.start()
    return server


def ask(server: LoopbackServer) -> int:
    """The status of an answer; ConnectionError where there is none."""
    with urllib.request.urlopen(f"http://{HOST}:{server.server_port}/", timeout=30) as answer:
        status: int = answer.status
    return status


def test_an_error_of_a_handler_is_raised_when_the_server_is_closed() -> None:
    def fail() -> None:
        raise LookupError("no such pier")

    server = server_that(fail)
    with pytest.raises(ConnectionError):
        ask(server)

    with pytest.raises(LookupError, match="no such pier"):
        server.close()

    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind((HOST, server.server_port))


@pytest.mark.parametrize("error", [BrokenPipeError, ConnectionResetError, TimeoutError])
def test_a_client_that_goes_away_is_no_error(error: type[Exception]) -> None:
    def fail() -> None:
        raise error

    server = server_that(fail)
    with pytest.raises(ConnectionError):
        ask(server)

    server.close()
