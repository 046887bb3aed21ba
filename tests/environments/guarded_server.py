"""A server of packages for those who log in, and the command lines of who asks it."""

from __future__ import annotations

import base64
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.http_server import QuietFiles
from tests.http_server import served as served_by

USER_AND_PASSWORD = "Basic " + base64.b64encode(b"user:s3cret").decode()
TOKEN = "Basic " + base64.b64encode(b"s3cret:").decode()

# Stands in the place of a program and writes down with which words it was started.
RECORDING = """#!/bin/sh
printf '%s\\n' "$*" >> {record}
exec {program} "$@"
"""


class _Guarded(QuietFiles):
    """Files of a folder, for those who log in, or whose address has the token in it."""

    def do_GET(self) -> None:  # noqa: N802 - the name of the base class
        address = urlsplit(self.path)
        if self.headers.get("Authorization") in (USER_AND_PASSWORD, TOKEN) or parse_qs(address.query).get("token") == [
            "s3cret"
        ]:
            self.path = address.path
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="wheels"')
            self.end_headers()


@pytest.fixture
def served(tmp_path: Path, wheelhouse: Path) -> Path:
    """The folder that the server gives to those it knows: ``hello``'s wheels, and a repository of it."""
    folder = tmp_path / "served"
    shutil.copytree(wheelhouse, folder)
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
    )
    wheel = next(folder.glob("hello-1.0*"))
    (project / wheel.name).write_bytes(wheel.read_bytes())
    (project / "backend.py").write_text(
        "import shutil\n"
        "def build_wheel(directory, config_settings=None, metadata_directory=None):\n"
        f"    shutil.copy({wheel.name!r}, directory)\n"
        f"    return {wheel.name!r}\n",
        encoding="utf-8",
    )
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "All"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(project), str(folder / "hello.git")], check=True)
    subprocess.run(["git", "-C", str(folder / "hello.git"), "update-server-info"], check=True)
    return folder


@pytest.fixture
def guarded_address(served: Path) -> Iterator[str]:
    """Host and port of a server that gives its files only to ``user`` with ``s3cret``, or for that token."""
    with served_by(functools.partial(_Guarded, directory=str(served))) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the words of every git and uv that is started, whoever starts it."""
    record = tmp_path / "words"
    record.touch()
    (tmp_path / "bin").mkdir()
    beside_python = str(Path(sys.executable).parent)
    for name in ("git", "uv"):
        program = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}{beside_python}")
        (tmp_path / "bin" / name).write_text(RECORDING.format(record=record, program=program))
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return record
