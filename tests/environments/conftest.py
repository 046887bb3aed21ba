"""A wheelhouse made on the spot, so that real installers run without any index."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter

Spec = Callable[..., EnvironmentSpec]
StartPython = Callable[..., "subprocess.Popen[str]"]

_DEADLINE = 60.0


def write_wheel(
    folder: Path, name: str, version: str, modules: dict[str, str], *, console_script: bool = False
) -> Path:
    """A wheel as a build backend makes it: modules, metadata, and a RECORD with hash and size of each file."""
    info = f"{name}-{version}.dist-info"
    files = dict(modules)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if console_script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:main\n"
    rows = [
        f"{path},sha256={_urlsafe(hashlib.sha256(text.encode()).digest())},{len(text.encode())}"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def _urlsafe(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.fixture
def make_wheel() -> Callable[..., Path]:
    """Factory of wheels: ``write_wheel``."""
    return write_wheel


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of ``hello`` 1.0 and 2.0, which brings a command of its name."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    for version in ("1.0", "2.0"):
        module = f"VERSION = {version!r}\n\ndef main():\n    print('hello', VERSION)\n"
        write_wheel(folder, "hello", version, {"hello/__init__.py": module}, console_script=True)
    return folder


@pytest.fixture
def offline(wheelhouse: Path) -> tuple[str, ...]:
    """Options with which only the wheelhouse counts."""
    return ("--no-index", "--find-links", str(wheelhouse))


@pytest.fixture
def make_spec(offline: tuple[str, ...]) -> Spec:
    """Factory of specs for this Python and the wheelhouse."""

    def make(*requirements: str, options: tuple[str, ...] = (), **more: object) -> EnvironmentSpec:
        arguments: dict[str, object] = {"interpreter": Interpreter.of(), **more}
        return EnvironmentSpec(
            requirements=requirements or ("hello",),
            pip_install_options=(*offline, *options),
            **arguments,  # type: ignore[arg-type] # whatever field a test wants
        )

    return make


@pytest.fixture
def make_slow_sdist(tmp_path: Path) -> Callable[[Path], Path]:
    """Factory of a source tree whose build touches a file and then waits until that file is removed."""

    def make(gate: Path) -> Path:
        project = tmp_path / "slow"
        project.mkdir()
        (project / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
        )
        (project / "backend.py").write_text(_SLOW_BACKEND.format(gate=str(gate)), encoding="utf-8")
        return project

    return make


_SLOW_BACKEND = """
import os, pathlib, time, zipfile
GATE = pathlib.Path({gate!r})

def build_wheel(directory, config_settings=None, metadata_directory=None):
    GATE.write_text(str(os.getpid()))
    deadline = time.monotonic() + 60
    while GATE.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    name = "slow-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        archive.writestr("slow.py", "READY = True\\n")
        archive.writestr("slow-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n")
        archive.writestr("slow-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr("slow-1.0.dist-info/RECORD", "slow.py,,\\n")
    return name
"""


@pytest.fixture
def start_python(tmp_path: Path) -> Iterator[StartPython]:
    """Factory of processes that run a Python source; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait for an event; fails when it does not come."""

    def wait(happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + _DEADLINE
        while not happened():
            assert time.monotonic() < deadline, "the event did not come"
            time.sleep(0.005)

    return wait
