"""A web server of loopback with the files of one folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """A request: its path with the query, and a header."""

    path: str
    key: str | None


@dataclass(frozen=True)
class Server:
    """:param asked: the requests that have come."""

    address: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(folder: Path, *, redirects_to: str = "") -> Iterator[Server]:
    """A server whose files lie below ``/docs/`` and ``/moved/``.

    :param redirects_to: where it sends what is asked for below ``/docs/``, a URL or a path; empty: nowhere.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(has_body=True)

        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def _answer(self, *, has_body: bool) -> None:
            server.asked.append(Asked(self.path, self.headers.get("X-Key")))
            _, top, name = urlsplit(self.path).path.split("/")
            file = folder / name
            if redirects_to and top == "docs":
                self.send_response(302)
                self.send_header("Location", f"{redirects_to}/{name}")
                self.end_headers()
            elif file.exists():
                self.send_response(200)
                self.send_header("Content-Length", str(file.stat().st_size))
                self.end_headers()
                if has_body:
                    self.wfile.write(file.read_bytes())
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server = Server(f"http://127.0.0.1:{listener.server_address[1]}")
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
