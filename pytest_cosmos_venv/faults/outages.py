"""Outages of the package index and the warehouse, and the proxy before a warehouse that drops connections.

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
from pytest_cosmos_venv.faults.ledger import Ledger
from pytest_cosmos_venv.loopback import HOST

_ASKS_FOR_ENCRYPTION = (80877103, 80877104)
"""The codes of SSLRequest and GSSENCRequest; they stand where a startup message has its version."""
_STATEMENTS = frozenset(b"QE")
"""The messages Query and Execute of the frontend."""
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
    """One outage, which begins with a request and ends after its length.

    :param fault: the fault.
    :param skipped: the time that the test has not waited for.
    :param tell: called with the fault and the place when the first request or connection meets the outage.
    :param word: ``request`` or ``connection``, for the place.
    """

    fault: Fault
    skipped: SkippedTime
    tell: Callable[[Fault, str], None]
    word: str
    _seen: int = 0
    _met: int = 0
    _began: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meets(self) -> bool:
        """Count a request or a connection, and return whether it meets the outage."""
        with self._lock:
            self._seen += 1
            if self._seen < self.fault.number or not self._goes_on():
                return False
            self._met += 1
            if self._met == 1:
                self._began = self.skipped.now()
                self.tell(self.fault, f"{self.word} {self._seen}")
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


class Statements:
    """Counts the statements in the bytes of a client, message by message."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_begun = False

    def feed(self, data: bytes) -> tuple[bytes, bytes, int]:
        """Take the next bytes.

        :param data: the bytes.
        :returns: the bytes to pass on, the bytes to answer to the client, and the number of statements among them.
        """
        self._rest += data
        passed, answer, statements = b"", b"", 0
        while (length := self._length()) and len(self._rest) >= length:
            message, self._rest = self._rest[:length], self._rest[length:]
            if not self._has_begun and struct.unpack("!i", message[4:8])[0] in _ASKS_FOR_ENCRYPTION:
                answer += b"N"  # encryption is refused: statements in an encrypted stream could not be counted
                continue
            statements += self._has_begun and message[0] in _STATEMENTS
            self._has_begun = True
            passed += message
        return passed, answer, statements

    def _length(self) -> int:
        """Return the length of the first message in the buffer; 0 while its header is incomplete."""
        head = 1 if self._has_begun else 0
        if len(self._rest) < head + 4 or (not head and len(self._rest) < 8):
            return 0
        return head + int(struct.unpack("!i", self._rest[head : head + 4])[0])


class WarehouseProxy:
    """Passes connections on to a warehouse, and drops them as the faults of the test say.

    :param target: host and port of the warehouse.
    :param outages: the outages that reset new connections.
    :param drops: takes the number of a statement, counted over all connections; returns whether to drop its connection.
    """

    def __init__(self, target: tuple[str, int], outages: Sequence[Outage], drops: Callable[[int], bool]) -> None:
        self._target = target
        self._outages = outages
        self._drops = drops
        self._lock = threading.Lock()
        self._statements = 0
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
            self._start(self._pass_statements, client, server)
            self._start(self._pass_answers, server, client)

    def _pass_statements(self, client: socket.socket, server: socket.socket) -> None:
        statements = Statements()
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                passed, answer, count = statements.feed(data)
                client.sendall(answer)
                # The warehouse gets the statement and may execute it; the client does not get the answer.
                is_dropped = self._count(count)
                if is_dropped:
                    _reset(client)
                server.sendall(passed)
                if is_dropped:
                    break
        _half_close(server)

    def _pass_answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                client.sendall(data)
        for each in (server, client):
            self._sockets.discard(each)
            with suppress(OSError):
                each.close()

    def _count(self, statements: int) -> bool:
        with self._lock:
            first = self._statements + 1
            self._statements += statements
            numbers = range(first, self._statements + 1)
        return bool([number for number in numbers if self._drops(number)])


def drops_of(ledger: Ledger) -> Callable[[int], bool]:
    """Return a function that says which statements lose their connection.

    :param ledger: the record of the test, with its faults.
    """

    def drops(number: int) -> bool:
        found = False
        for fault in ledger.faults:
            if fault.kind != "warehouse_drops_connection" or fault.after is not None:
                continue
            struck = sum(1 for each in ledger.happened() if each.fault is fault)
            if number >= fault.number and (fault.times is None or struck < fault.times):
                ledger.tell(fault, f"statement {number}")
                found = True
        return found

    return drops


def _reset(connection: socket.socket) -> None:
    """End a connection with a TCP reset, as a network failure does, even in the middle of a message."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()


def _half_close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
