"""A bundle of DAG files with versions, as a bundle of git is: each version is imported from a folder of its own.

Only Airflow 3 imports this module.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle


class CopiedBundle(BaseDagBundle):  # type: ignore[misc,unused-ignore]
    """The files of a folder. Their digest is the version.

    :param origin: the folder.
    """

    supports_versioning = True

    def __init__(self, *, origin: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._origin = Path(origin)

    @property
    def path(self) -> Path:
        """The copy of the version."""
        folder = Path(self.versions_dir) / (self.version or self.get_current_version())
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(self._origin, folder, dirs_exist_ok=True)
        return folder

    def get_current_version(self) -> str:
        """The digest of all files."""
        digest = hashlib.sha256()
        for file in sorted(path for path in self._origin.rglob("*") if path.is_file()):
            digest.update(str(file.relative_to(self._origin)).encode() + file.read_bytes())
        return digest.hexdigest()[:16]

    def refresh(self) -> None:
        """Nothing is fetched: the folder is here."""
