"""Fixtures that configure a remote store of environments in a folder of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv.managed.remote_environments import FOLDER

KEY = "the key of all workers"


class Configure(Protocol):
    """Set options of the section ``[cosmos_venv]``."""

    def __call__(self, **settings: object) -> None: ...


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Return a function that sets options of ``[cosmos_venv]`` for the test."""

    def configure(**settings: object) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{name.upper()}", str(value))

    return configure


@pytest.fixture
def remote(tmp_path: Path, configure: Configure) -> Path:
    """The folder of a configured remote store; the key is not configured yet."""
    configure(remote_environment_dir=f"file://{tmp_path}/remote")
    return tmp_path / "remote" / FOLDER


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file with the key, which is not configured yet."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    return file
