"""What an index asks for reaches the installer, and no log, record, file or command line."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.spec import EnvironmentSpec

Spec = Callable[..., EnvironmentSpec]
MakeReady = Callable[..., Environment]
OutputOf = Callable[..., str]


class _Guarded(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, for those who know user and password."""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(b"user:s3cret").decode()
        if self.headers.get("Authorization") == expected:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="wheels"')
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture
def guarded_address(wheelhouse: Path) -> Iterator[str]:
    """Host and port of a server that gives the wheels only to ``user`` with ``s3cret``."""

    def handler(*arguments: object) -> _Guarded:
        return _Guarded(*arguments, directory=str(wheelhouse))  # type: ignore[arg-type] # what the server passes

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_credentials_reach_the_installer_and_nothing_else(
    tmp_path: Path,
    make_spec: Spec,
    guarded_address: str,
    preference: str,
    monkeypatch: pytest.MonkeyPatch,
    make_ready: MakeReady,
    output_of: OutputOf,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # The run of all tests is offline; this server is on loopback.
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    spec = make_spec(
        f"hello @ http://user:s3cret@{guarded_address}/hello-1.0-py3-none-any.whl",
        options=("--extra-index-url", f"http://user:s3cret@{guarded_address}"),
    )
    lines: list[str] = []

    environment = make_ready(tmp_path, spec, preference=preference, lines=lines)

    written = [file for file in tmp_path.rglob("*") if file.is_file() and not file.is_symlink()]
    assert output_of(environment.script("hello")) == "hello 1.0"
    assert [line for line in lines if "s3cret" in line] == []
    assert [file for file in written if b"s3cret" in file.read_bytes()] == []
