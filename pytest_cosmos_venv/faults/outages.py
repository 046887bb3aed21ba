"""Outages of the warehouse, and the proxy before it.

The time of an outage is the time of the code under test. ``cosmos_airflow.clock`` moves it. Runs of the toolkit do not
wait for ``retry_delay``, so it is added to the time of an outage.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow import clock
from pytest_cosmos_venv.faults import Fault
from pytest_cosmos_venv.loopback import HOST

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)


@dataclass
class SkippedTime:
    """The time that a test has not waited for, such as ``retry_delay``.

    :param seconds: the sum in seconds.
    """

    seconds: float = 0.0

    def now(self) -> float:
        """Return the monotonic time of the code under test, in seconds."""
        return real_time.monotonic() + clock.moved() + self.seconds


@dataclass
class Outage:
    """One outage, which begins with the first connection and ends after its length.

    :param fault: the fault.
    :param skipped: the time that the test has not waited for.
    :param tell: called with the fault and the place when the first connection meets the outage.
    """

    fault: Fault
    skipped: SkippedTime
    tell: Callable[[Fault, str], None]
    _met: int = 0
    _began: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meets(self) -> bool:
        """Count a connection, and return whether it meets the outage."""
        with self._lock:
            if not self._goes_on():
                return False
            self._met += 1
            if self._met == 1:
                self._began = self.skipped.now()
                self.tell(self.fault, "connection 1")
            return True

    def _goes_on(self) -> bool:
        fault = self.fault
        if fault.count is not None and self._met >= fault.count:
            return False
        return self._began is None or fault.seconds is None or self.skipped.now() - self._began < fault.seconds


@dataclass(frozen=True, kw_only=True)
class WarehouseAddress:
    """The place where the test's code finds its warehouse.

    :param host: the host, which is loopback.
    :param port: the port.
    """

    host: str
    port: int


class WarehouseProxy:
    """Passes connections on to a warehouse, or resets them as the faults of the test say.

    :param target: host and port of the warehouse.
    :param outages: the outages that reset new connections.
    """

    def __init__(self, target: tuple[str, int], outages: Sequence[Outage]) -> None:
        self._target = target
        self._outages = outages
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._is_closing = False
        self._listener = socket.create_server((HOST, 0))
        self.address = WarehouseAddress(host=HOST, port=self._listener.getsockname()[1])
        """The place where the proxy listens."""
        self._start(self._accept)

    def close(self) -> None:
        """End all connections and the proxy; no thread and no socket remain."""
        self._is_closing = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        for each in self._sockets:
            each.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_closing:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it is closed
                return
            if [outage for outage in self._outages if outage.meets()]:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _reset(client)
                continue
            self._sockets |= {client, server}
            self._start(self._pass_on, client, server)
            self._start(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _reset(connection: socket.socket) -> None:
    """End a connection with a TCP reset, as a network failure does, even in the middle of a message."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()
