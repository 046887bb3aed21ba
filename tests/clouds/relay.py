"""A server on loopback that passes everything on to another one, and writes down what was asked for."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_REQUEST = re.compile(rb"(?m)^([A-Z]+) (/[^ ]*) HTTP/1\.1\r\n")
_PIECE = 65_536


@dataclass
class Relay:
    """The way to a server.

    :ivar requests: method and path of each request.
    :ivar most: bytes that a client gets on one connection; what comes behind them stays away. None: all.
    """

    server: tuple[str, int]
    listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    requests: list[str] = field(default_factory=list)
    most: int | None = None
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def serve(self) -> None:
        """Accept connections until the listening socket is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                server = socket.create_connection(self.server)
                self._open += [client, server]
                for source, target, take in ((client, server, self._take), (server, client, self._giving())):
                    threading.Thread(target=_pass_on, args=(source, target, take), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        for each in [self.listening, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _take(self, piece: bytes) -> bytes:
        self.requests += [f"{method.decode()} {path.decode()}" for method, path in _REQUEST.findall(piece)]
        return piece

    def _giving(self) -> Callable[[bytes], bytes]:
        given = [0]

        def give(piece: bytes) -> bytes:
            if self.most is not None and given[0] + len(piece) > self.most:
                raise OSError("nothing more comes, not even an end")
            given[0] += len(piece)
            return piece

        return give


def _pass_on(source: socket.socket, target: socket.socket, take: Callable[[bytes], bytes]) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(take(piece))
        target.shutdown(socket.SHUT_WR)


@contextmanager
def relay_to(server: tuple[str, int]) -> Iterator[Relay]:
    """A relay that is closed after the block."""
    relay = Relay(server)
    thread = threading.Thread(target=relay.serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join()
