"""A remote store that a machine has filled, and a folder of temporary files of one's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from tests.environments.archive.machines import Machine


@pytest.fixture(scope="session")
def hello(wheelhouse: Path) -> EnvironmentSpec:
    """The spec of an environment with ``hello``."""
    options = ("--no-index", "--find-links", str(wheelhouse))
    return EnvironmentSpec(requirements=("hello",), pip_install_options=options, interpreter=Interpreter.of())


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory, hello: EnvironmentSpec) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    machine = Machine(directory=folder / "builder", remote=folder / "remote")
    machine.use(hello)
    assert "Put " in machine.log
    return folder / "remote"


@pytest.fixture
def remote(tmp_path: Path, _filled: Path) -> Path:
    """A remote store that has the environment with ``hello``."""
    return Path(shutil.copytree(_filled, tmp_path / "remote"))


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test alone, which must be empty at its end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert [path.name for path in folder.iterdir()] == []
