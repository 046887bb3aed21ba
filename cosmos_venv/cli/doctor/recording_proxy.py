"""An HTTP proxy on loopback that writes down which hosts are asked, and whether they answer.

A tool that is started with its variables tells it each host, also those that it asks by TLS: the first line of a tunnel
names the host, and what goes through it is not read.

:source: RFC 9110, section 9.3.6 (CONNECT); the variables are those of curl, which pip, uv and dbt 2 read too.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import SplitResult, unquote, urlsplit

_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy", "PIP_PROXY")
_BYPASSES = ("NO_PROXY", "no_proxy")
_PATIENCE = 10.0
_CHUNK = 1 << 16


class RecordingProxy:
    """The proxy, while it is entered.

    :param passes: whether what is asked gets through. False: each host is tried, and whoever asked gets an error, so
        that nothing is downloaded.
    :param beyond: the proxy through which this machine asks others; empty: the one of the variables, or none.
    """

    def __init__(self, *, passes: bool, beyond: str = "") -> None:
        self.asked: dict[str, str] = {}
        """``host:port`` -> why it does not answer, in words; empty: it does. In the order in which they were asked."""
        self._server = _Server(self.asked, passes=passes, beyond=beyond)
        self._thread = threading.Thread(target=self._server.serve_forever, name="cosmos-venv-proxy", daemon=True)

    def __enter__(self) -> RecordingProxy:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, with what is still open.

        :param kind, error, traceback: of what ended the block; all None: it ended by itself.
        """
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment variables with which a tool asks this proxy for every host.

        :param environ: those that the tool would have.
        """
        own = dict.fromkeys(_VARIABLES, f"http://127.0.0.1:{self._server.server_port}")
        return {name: value for name, value in environ.items() if name not in _BYPASSES} | own


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, asked: dict[str, str], *, passes: bool, beyond: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = asked
        self.passes = passes
        known = urllib.request.getproxies_environment()
        self._beyond = {"http": beyond, "https": beyond} if beyond else known

    def connected(self, host: str, port: int, scheme: str) -> socket.socket:
        """A connection to the host: directly, or through this machine's own proxy.

        :param host: its name or address.
        :param port: its port.
        :param scheme: ``http`` or ``https``, as proxies are named by it.
        :raises OSError: it does not answer.
        """
        proxy = self._beyond.get(scheme) or self._beyond.get("all")
        if not proxy or urllib.request.proxy_bypass(host):
            return socket.create_connection((host, port), timeout=_PATIENCE)
        place = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 3128, timeout=_PATIENCE)
        connection.set_tunnel(host, port, headers=_authorization(place))
        connection.connect()
        return connection.sock


def _authorization(place: SplitResult) -> dict[str, str]:
    if place.username is None:
        return {}
    pair = f"{unquote(place.username)}:{unquote(place.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    rbufsize = 0  # what follows the head is pumped from the socket
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        """Open a tunnel."""
        host, _, port = self.path.rpartition(":")
        with suppress(OSError):
            self._relay(host.strip("[]"), port, "https", head=None)

    def do_GET(self) -> None:
        """Ask what is written in plain text, and end the connection after one answer."""
        place = urlsplit(self.path)
        path = place._replace(scheme="", netloc="").geturl() or "/"
        fields = [(name, value) for name, value in self.headers.items() if not name.lower().startswith("proxy-")]
        fields = [pair for pair in fields if pair[0].lower() not in ("connection", "keep-alive")]
        lines = [f"{self.command} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        with suppress(OSError):
            self._relay(place.hostname or "", str(place.port or 80), "http", head=head)

    do_HEAD = do_POST = do_GET  # noqa: N815 - the names are http.server's

    def _relay(self, host: str, port: str, scheme: str, *, head: bytes | None) -> None:
        self.close_connection = True
        name = f"{host}:{port}"
        try:
            there = self.server.connected(host, int(port), scheme)
        except (OSError, ValueError) as error:
            self.server.asked[name] = str(error) or type(error).__name__
            self.send_error(502, "the host does not answer")
            return
        with there:
            self.server.asked.setdefault(name, "")
            if not self.server.passes:
                self.send_error(502, "nothing gets through here")
                return
            if head is None:
                self.send_response_only(200)
                self.end_headers()
            else:
                there.sendall(head)
            _pump(self.connection, there)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the method that it replaces
        """Write nothing: standard error is the command's.

        :param format: of the line.
        :param *args: for the format.
        """


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Pass on what each says, until one of them has ended."""
    facing = {one: other, other: one}
    for each in facing:
        each.settimeout(None)
    while True:
        for speaking in select.select(list(facing), [], [])[0]:
            said = speaking.recv(_CHUNK)
            if not said:
                return
            facing[speaking].sendall(said)
