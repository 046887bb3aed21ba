"""The files of a project on the disk, and the YAML in them."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any


def load_yaml(text: str) -> Any:
    """Return the content of a YAML file; None where it is no valid YAML.

    :param text: the text of the file.
    """
    try:
        module = import_module(f"{__package__}.yaml.loader")
    except ImportError:  # in the test's process, where PyYAML is not copied
        module = import_module("yaml")
    loader = module.SafeLoader(text)
    try:
        return loader.get_single_data()
    except Exception:  # noqa: BLE001 - the copied PyYAML has error classes of its own
        return None
    finally:
        loader.dispose()


class Files:
    """The files of a project, as they lie on the disk."""

    def __init__(self) -> None:
        self._below: dict[Path, list[Path]] = {}

    def below(self, folder: Path) -> list[Path]:
        """Return all files below a folder, sorted; none where there is no such folder.

        :param folder: the folder.
        """
        if folder not in self._below:
            self._below[folder] = sorted(file for file in folder.rglob("*") if file.is_file())
        return self._below[folder]

    def text(self, file: Path) -> str:
        """Return the text of a file, with its line endings.

        :param file: the file.
        """
        return file.read_bytes().decode("utf-8", "replace")

    def document(self, file: Path) -> Any:
        """Return the content of a YAML file; None where it is no valid YAML, ``""`` where it is empty.

        :param file: the file.
        """
        text = self.text(file)
        return load_yaml(text) if text.strip() else ""


def checksum(text: str) -> dict[str, str]:
    """Return the checksum of a file in a manifest.

    :param text: the content of the file, which dbt strips.
    """
    return {"name": "sha256", "checksum": hashlib.sha256(text.strip().encode()).hexdigest()}
