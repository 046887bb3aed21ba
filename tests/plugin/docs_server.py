"""A web server of loopback with the files of one folder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """A request: its path with the query, and a header; and whether a file was sent."""

    path: str
    key: str | None
    was_sent: bool = False


@dataclass(frozen=True)
class Server:
    """:param asked: the requests that have come."""

    address: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(folder: Path, *, redirects_to: str = "", names_versions: bool = False) -> Iterator[Server]:
    """A server whose files lie below ``/docs/`` and ``/moved/``.

    :param redirects_to: where it sends what is asked for below ``/docs/``, a URL or a path; empty: nowhere.
    :param names_versions: whether it sends an ETag, and no file to those who have it.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(has_body=True)

        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def _answer(self, *, has_body: bool) -> None:
            _, top, name = urlsplit(self.path).path.split("/")
            file = folder / name
            tag = f'"{hashlib.sha256(file.read_bytes()).hexdigest()}"' if file.exists() and names_versions else ""
            is_known = bool(tag) and self.headers.get("If-None-Match") == tag
            was_sent = file.exists() and has_body and not is_known
            server.asked.append(Asked(self.path, self.headers.get("X-Key"), was_sent))
            if redirects_to and top == "docs":
                self.send_response(302)
                self.send_header("Location", f"{redirects_to}/{name}")
                self.end_headers()
            elif is_known:
                self.send_response(304)
                self.end_headers()
            elif file.exists():
                self.send_response(200)
                if tag:
                    self.send_header("ETag", tag)
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
