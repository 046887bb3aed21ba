"""A wheelhouse made on the spot, so that real installers run without any index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from cosmos_venv.environments.maintenance.pruner import PruneLimits
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests import waiting
from tests.environments.guarded_server import command_lines, guarded_address, served
from tests.kit import MakeReady, MakeSpec, OutputOf, SetAge, StartPython, WaitForBackend, WaitUntil

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.installer import InstallerPreference

__all__ = ["command_lines", "guarded_address", "served"]


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of ``hello`` 1.0 and 2.0, which brings a command of its name."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    for version in ("1.0", "2.0"):
        module = f"VERSION = {version!r}\n\ndef main():\n    print('hello', VERSION)\n"
        files = {"hello/__init__.py": module}
        write_wheel(Wheel(name="hello", version=version, files=files, console_scripts={"hello": "hello:main"}), folder)
    return folder


@pytest.fixture
def index(tmp_path: Path, wheelhouse: Path) -> Path:
    """An index that offers ``hello`` 1.0, so far."""
    folder = tmp_path / "index"
    folder.mkdir()
    shutil.copy(next(wheelhouse.glob("hello-1.0*")), folder)
    return folder


@pytest.fixture
def offline(wheelhouse: Path) -> tuple[str, ...]:
    """Options with which only the wheelhouse counts."""
    return ("--no-index", "--find-links", str(wheelhouse))


@pytest.fixture
def make_spec(offline: tuple[str, ...]) -> MakeSpec:
    """Factory of specs for this Python and the wheelhouse."""

    def make(
        *requirements: str, options: tuple[str, ...] = (), interpreter: Interpreter | None = None, **more: Any
    ) -> EnvironmentSpec:
        return EnvironmentSpec(
            requirements=requirements or ("hello",),
            pip_install_options=(*offline, *options),
            interpreter=interpreter or Interpreter.of(),
            **more,
        )

    return make


@pytest.fixture
def make_ready() -> MakeReady:
    """Factory of environments: each as it is after its block, its lease given up, its files in place."""

    def make(
        directory: Path,
        spec: EnvironmentSpec,
        *,
        preference: str = "uv",
        lines: list[str] | None = None,
        limits: PruneLimits | None = None,
    ) -> Environment:
        with open_environment(
            BuildRequest(
                store=EnvironmentStore(directory),
                spec=spec,
                preference=cast("InstallerPreference", preference),
                max_tries=5,
                limits=limits,
            ),
            cancellation=Cancellation(),
            report=(lines if lines is not None else []).append,
        ) as environment:
            return environment

    return make


@pytest.fixture
def output_of() -> OutputOf:
    """The output of a command, which must succeed."""

    def output_of(command: object, *arguments: str) -> str:
        return subprocess.run([str(command), *arguments], capture_output=True, text=True, check=True).stdout.strip()

    return output_of


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A slow build writes its process id here and waits while it exists; removed at the end, so that none stays."""
    path = tmp_path / "gate"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def slow_spec(tmp_path: Path, make_spec: MakeSpec, gate: Path) -> EnvironmentSpec:
    """A spec of a source tree that is built slowly (see ``gate``)."""
    project = tmp_path / "slow"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
    )
    (project / "backend.py").write_text(_SLOW_BACKEND.format(gate=str(gate)), encoding="utf-8")
    return make_spec(str(project))


@pytest.fixture
def wait_for_backend(gate: Path, wait_until: WaitUntil) -> WaitForBackend:
    """Wait until the slow build is at work; its process id."""

    def wait() -> int:
        wait_until(lambda: gate.exists() and gate.read_text())
        return int(gate.read_text())

    return wait


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
    """Factory of processes that run a Python source; those that still run at the end are killed.

    ``within`` stands before the command and runs it, such as ``elsewhere.within()``.
    """
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: object, within: Sequence[str] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*within, sys.executable, "-c", source, *map(str, arguments)],
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
def wait_until() -> WaitUntil:
    """Wait for an event; fails when it does not come."""

    def wait(happened: Callable[[], object]) -> None:
        waiting.wait_until(happened)

    return wait


@pytest.fixture
def set_age() -> SetAge:
    """Make a file as many seconds old."""

    def set_age(file: Path, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(file, (then, then))

    return set_age


@pytest.fixture
def everybodys_folder() -> Iterator[Path]:
    """A folder that other users can reach, as those of ``tmp_path`` are not."""
    with throwaway_folder("cosmos-venv-tests-") as folder:
        folder.chmod(0o755)
        yield folder
