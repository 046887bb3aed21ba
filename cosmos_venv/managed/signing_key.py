"""The key that all workers of a deployment share: what they fetch from each other is signed with it."""

from __future__ import annotations

import os
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.compat import get_connection, mask_in_logs
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.durable_files import read_own

KEY_VARIABLE = "COSMOS_VENV_REMOTE_KEY"
"""The environment variable by which a builder in a process of its own gets the key."""

_LEAST = 16  # bytes; a shorter one can be guessed
_OPEN_TO_OTHERS = 0o077


class NoKey(Exception):
    """The key is configured and cannot be had now. The text says why."""


def signing_key() -> bytes:
    """Return the key; empty where none is configured.

    :raises CosmosValueError: when it is too short, or others could read its file.
    :raises NoKey: when it cannot be had now.
    """
    if given := os.environ.get(KEY_VARIABLE):  # of the process that has started this builder
        return given.encode()
    conn_id, file = settings.remote_key_conn_id, settings.remote_key_file
    if conn_id:
        name, key = f"remote_key_conn_id = {conn_id!r}", _password(conn_id).encode()
    elif file:
        name, key = f"remote_key_file = {file!r}", _content(Path(file))
    else:
        return b""
    if reason := _why_weak(key):
        raise CosmosValueError(f"[cosmos_venv] {name}: the key is too short: {reason}. Make a longer one.")
    mask_in_logs(key.decode(errors="replace"))
    return key


def _password(conn_id: str) -> str:
    try:
        return get_connection(conn_id).password or ""
    except Exception as error:  # each Airflow and each secrets backend has another one
        raise NoKey(f"the connection {conn_id!r} with its key cannot be had ({type(error).__name__})") from error


def _content(file: Path) -> bytes:
    try:
        mode = file.stat().st_mode
        content = read_own(file).strip()
    except OSError as error:
        raise NoKey(f"its key file {file} cannot be read ({error.strerror})") from error
    if mode & _OPEN_TO_OTHERS:
        raise CosmosValueError(
            f"[cosmos_venv] remote_key_file = {str(file)!r}: others may read or write it (mode "
            f"{mode & 0o777:o}). Make it this user's alone: chmod 600."
        )
    return content


def _why_weak(key: bytes) -> str:
    return f"it has {len(key)} bytes, and at least {_LEAST} are needed" if len(key) < _LEAST else ""
