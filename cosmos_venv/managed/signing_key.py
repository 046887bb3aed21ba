"""The key that all workers of a deployment share: files that they fetch from each other are signed with it.

Each task and the triggerer import this module where a key is set, so it imports nothing that builds environments.
"""

from __future__ import annotations

import os
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.compat import get_connection, mask_in_logs
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.own_files import trusted_owners
from cosmos_venv.files.read_limits import Limit, open_file
from cosmos_venv.remote.download_cache import RemoteError

_LEAST = 16  # bytes; a shorter one can be guessed
_LIMIT = Limit(most=65_536)
_OPEN_TO_OTHERS = 0o027  # a Secret that Kubernetes mounts is readable for the group of its pod


def signing_key() -> bytes:
    """Return the key; empty where none is configured.

    :raises CosmosValueError: when it is too short, or others could read or write its file.
    :raises RemoteError: when it cannot be had now; the text says why.
    """
    conn_id, file = settings.remote_key_conn_id, settings.remote_key_file
    if conn_id:
        name, key = f"remote_key_conn_id = {conn_id!r}", _password(conn_id).encode()
    elif file:
        name, key = f"remote_key_file = {file!r}", _content(Path(file))
    else:
        return b""
    if len(key) < _LEAST:
        raise CosmosValueError(
            f"[cosmos_venv] {name}: the key is too short: it has {len(key)} bytes, and at least {_LEAST} are needed. "
            "Make a longer one."
        )
    mask_in_logs(key.decode(errors="replace"))
    return key


def _password(conn_id: str) -> str:
    try:
        return get_connection(conn_id).password or ""
    except Exception as error:  # each Airflow and each secrets backend raises another type
        raise RemoteError(
            f"Airflow does not give the connection {conn_id!r}, whose password is the key ({type(error).__name__})",
            has_answered=True,
        ) from error


def _content(file: Path) -> bytes:
    try:
        # Links are followed: Kubernetes mounts a Secret as links. No writer of a named pipe is waited for.
        with open_file(file, _LIMIT) as opened:
            status = os.fstat(opened.fileno())
            content = opened.read().strip()
    except OSError as error:
        raise RemoteError(f"its key file {file} cannot be read ({error.strerror})", has_answered=True) from error
    if status.st_uid not in trusted_owners() or status.st_mode & _OPEN_TO_OTHERS:
        raise CosmosValueError(
            f"[cosmos_venv] remote_key_file = {str(file)!r}: others may read or write it (owner {status.st_uid}, mode "
            f"{status.st_mode & 0o777:o}). Make it this user's alone: chown {os.geteuid()}, chmod 600."
        )
    return content
