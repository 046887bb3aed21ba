"""Credentials for an index or a git server reach the installer, and no log, record, file or command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.post_install import file_faults
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from tests.environments.lock_files import package, write_lock_file
from tests.kit import MakeReady, MakeSpec, OutputOf


@pytest.mark.parametrize(
    "requirement",
    [
        pytest.param("hello @ http://user:s3cret@{}/hello-1.0-py3-none-any.whl", id="user-and-password"),
        pytest.param("hello @ http://{}/hello-1.0-py3-none-any.whl?token=s3cret", id="query"),
        pytest.param("hello @ git+http://s3cret@{}/hello.git@v1", id="git"),
    ],
)
@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_credentials_reach_the_installer_and_nothing_else(
    tmp_path: Path,
    make_spec: MakeSpec,
    guarded_address: str,
    command_lines: Path,
    preference: str,
    requirement: str,
    monkeypatch: pytest.MonkeyPatch,
    make_ready: MakeReady,
    output_of: OutputOf,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # The run of all tests is offline; this server is on loopback.
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    spec = make_spec(
        requirement.format(guarded_address),
        options=("--extra-index-url", f"http://user:s3cret@{guarded_address}"),
    )
    lines: list[str] = []

    environment = make_ready(tmp_path / "store", spec, preference=preference, lines=lines)

    written = [file for file in (tmp_path / "store").rglob("*") if file.is_file() and not file.is_symlink()]
    assert output_of(environment.script("hello")) == "hello 1.0"
    assert file_faults(environment.path, content=True) == {}
    assert [line for line in lines if "s3cret" in line] == []
    assert [file for file in written if b"s3cret" in file.read_bytes()] == []
    assert "s3cret" not in command_lines.read_text()
    assert ("pip install --python" in command_lines.read_text()) is (preference == "uv")
    assert ("hello.git" in command_lines.read_text()) is ("git+" in requirement)


def test_the_login_of_an_index_opens_the_files_of_a_lock_file(
    tmp_path: Path,
    guarded_address: str,
    served: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_ready: MakeReady,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    wheel = next(served.glob("hello-1.0*"))
    file = write_lock_file(
        tmp_path / "pylock.toml", package(wheel, at=f'url = "http://{guarded_address}/{wheel.name}"')
    )
    spec = EnvironmentSpec(
        requirements=(f"-r {file}",),
        pip_install_options=("--index-url", f"http://user:s3cret@{guarded_address}"),
        interpreter=Interpreter.of(),
    )

    environment = make_ready(tmp_path / "store", spec)

    assert environment.record.pins == {"hello": "1.0"}
