"""A manifest at a URL, and its copy on this machine."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.managed import resolve
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.remote.download_cache import Copy, RemoteError
from cosmos_venv.remote.remote_file import RemoteFile

logger = logging.getLogger(__name__)

_PATIENCE = 60.0  # seconds, where Airflow sets no time-out


def open_remote(file: RemoteFile, kept: FileCache | None) -> Manifest:
    """The manifest at a URL, copied only where it has changed since the last parse.

    When the server does not answer, the kept copy is used, with a warning.

    :param file: the manifest.
    :param kept: keeps copies; None: nothing is kept.
    :raises CosmosLoadDbtException: when the server refuses the manifest, or does not answer and no copy is kept.
    """
    digest = hashlib.sha256(json.dumps([file.url, file.conn_id]).encode()).hexdigest()
    # The time of the file says when the copy was last known to be current.
    packed = None if kept is None else kept.read(digest, is_noted=False)
    known = None if packed is None else Copy.unpacked(packed)
    try:
        copy = file.read(
            known=known.version if known else None,
            seconds=resolve.seconds_for_a_parse() or _PATIENCE,
            limit=settings.limit("artifact_max_bytes"),
        )
    except RemoteError as error:
        if kept is None or known is None or error.has_answered:
            raise CosmosLoadDbtException(
                f"ProjectConfig.manifest_path {file} cannot be read: {error}. Correct it, or manifest_conn_id="
                f"{file.conn_id!r}; or deploy the manifest beside the project and name that file."
            ) from None
        warn_of_copy(f"ProjectConfig.manifest_path {file}", error, kept.path(digest))
        return Manifest(str(file), known.content)
    if copy is None:
        assert kept is not None and known is not None  # noqa: S101, PT018 - only a known copy can be unchanged
        with suppress(OSError):
            os.utime(kept.path(digest))
        return Manifest(str(file), known.content)
    manifest = Manifest(str(file), copy.content)
    if kept is not None:  # only a valid manifest is kept: a kept error page would never be fetched anew
        kept.write(digest, copy.packed())
    return manifest


def warn_of_copy(what: str, error: RemoteError, note: Path) -> None:
    """Warn that there was no answer, and say how old the copy is that is used.

    :param what: the parameter and the address.
    :param error: the error in place of an answer.
    :param note: the file whose time says when the copy was last known to be current.
    """
    passed = timedelta(minutes=(time.time() - note.stat().st_mtime) // 60)
    logger.warning("%s cannot be read now: %s. Its copy of %s ago is taken.", what, error, passed)
