"""Airflow's Variables for tasks in several processes: files in a folder, each replaced in one step."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from pytest_cosmos_venv.airflow.variables import VariableStore
from pytest_cosmos_venv.airflow.versions import this_airflow


class FileVariables(VariableStore):
    """Variables that Airflow reads and writes in files instead of its database. No key here has a slash."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def read(self, key: str, *, failure: Exception) -> str | None:  # noqa: ARG002 - files do not fail
        try:
            return (self._folder / key).read_text()
        except FileNotFoundError:
            return None

    def keys(self, *, failure: Exception) -> list[str]:  # noqa: ARG002 - files do not fail
        return sorted(path.name for path in self._folder.iterdir() if not path.name.startswith("."))

    def write(self, key: str, value: str, *, failure: Exception) -> None:  # noqa: ARG002 - files do not fail
        draft = self._folder / f".{key}.{os.getpid()}"
        draft.write_text(value)
        draft.replace(self._folder / key)

    def delete(self, key: str, *, failure: Exception) -> bool:  # noqa: ARG002 - files do not fail
        (self._folder / key).unlink(missing_ok=True)
        return True


def variables_below(folder: Path) -> AbstractContextManager[None]:
    """Within this block, Variables of this process are those of the folder."""
    return this_airflow().variables_in(FileVariables(folder))
