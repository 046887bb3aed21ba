"""A remote store of environments in a folder of the test, by its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv.managed.remote_environments import FOLDER

KEY = "the key of all workers"


class Configure(Protocol):
    """Set names of ``[cosmos_venv]``."""

    def __call__(self, **settings: object) -> None: ...


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Factory of settings."""

    def configure(**settings: object) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{name.upper()}", str(value))

    return configure


@pytest.fixture
def remote(tmp_path: Path, configure: Configure) -> Path:
    """The folder of a remote store that is configured, but for a key."""
    configure(remote_environment_dir=f"file://{tmp_path}/remote")
    return tmp_path / "remote" / FOLDER


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file with the key, which is not configured yet."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    return file
