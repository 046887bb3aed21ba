"""A manifest at a URL, of which a copy is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from contextlib import suppress
from datetime import timedelta

import msgspec

from cosmos_venv import settings
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.managed import resolve
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.remote.download_cache import Copy, RemoteError
from cosmos_venv.remote.remote_file import RemoteFile

logger = logging.getLogger(__name__)

_PATIENCE = 60.0  # seconds, where Airflow sets no time-out


class RemoteManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest at a URL. A copy of it is kept, and taken while the manifest is unchanged."""

    file: RemoteFile
    kept: FileCache | None

    def open(self) -> Manifest:
        """The manifest, copied only where it has changed since the last parse.

        Where no answer comes, the copy that is kept is taken, with a warning. Raises CosmosLoadDbtException when there
        is none.
        """
        known = self._kept_copy()
        try:
            copy = self.file.read(
                known=known.version if known else None,
                seconds=resolve.seconds_for_a_parse() or _PATIENCE,
                limit=settings.limit("artifact_max_bytes"),
            )
        except RemoteError as error:
            if known is None or error.has_answered:
                raise CosmosLoadDbtException(self._failure(error)) from None
            logger.warning(
                "ProjectConfig.manifest_path %s cannot be read now: %s. Its copy of %s ago is taken.",
                self.file,
                error,
                timedelta(minutes=self._seconds_since_confirmed() // 60),
            )
            return Manifest(str(self.file), known.content)
        if copy is None:
            assert known is not None  # noqa: S101 - nothing else can be unchanged
            self._confirm()
            return Manifest(str(self.file), known.content)
        manifest = Manifest(str(self.file), copy.content)
        if self.kept is not None:  # only what is a manifest: an error page would be asked for no more
            self.kept.write(self._digest, copy.packed())
        return manifest

    @property
    def _digest(self) -> str:
        return hashlib.sha256(json.dumps([self.file.url, self.file.conn_id]).encode()).hexdigest()

    def _kept_copy(self) -> Copy | None:
        # With an age that counts, reading does not touch the time: it says when the copy was last known to be right.
        packed = None if self.kept is None else self.kept.read(self._digest, max_age=math.inf)
        return None if packed is None else Copy.unpacked(packed)

    def _confirm(self) -> None:
        if self.kept is not None:
            with suppress(OSError):
                os.utime(self.kept.path(self._digest))

    def _seconds_since_confirmed(self) -> float:
        assert self.kept is not None  # noqa: S101 - there is a copy
        try:
            return time.time() - self.kept.path(self._digest).stat().st_mtime
        except OSError:
            return 0.0

    def _failure(self, error: RemoteError) -> str:
        return (
            f"ProjectConfig.manifest_path {self.file} cannot be read: {error}. Correct it, or manifest_conn_id="
            f"{self.file.conn_id!r}; or deploy the manifest beside the project and name that file."
        )
