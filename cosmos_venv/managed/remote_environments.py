"""The remote store of environments, as it is configured, and the key that all workers of a deployment share.

What workers fetch from each other is signed with the key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.compat import get_connection, mask_in_logs
from cosmos_venv.environments.remote_store import RemoteStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files.permissions import trusted_owners
from cosmos_venv.files.read_limits import Limit, open_file
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.object_store import SignedRemoteFolder, connection_of

FOLDER = "environments-v1"
"""Its name below ``remote_environment_dir``. The layout's version is in it."""

_PATIENCE = 600
_LEAST = 16  # bytes; a shorter one can be guessed
_LIMIT = Limit(most=65_536)
_OPEN_TO_OTHERS = 0o027  # a Secret that Kubernetes mounts is readable for the group of its pod


def remote_store(warn: Callable[[str], None]) -> RemoteStore | None:
    """Return the store for a task; None where none is configured, or its key cannot be had now.

    :param warn: gets a line in the latter case.
    :raises CosmosValueError: naming the setting that is wrong or missing.
    """
    if not settings.remote_environment_dir:
        return None
    try:
        return configured_store()
    except RemoteError as error:
        warn(f"[cosmos_venv] remote_environment_dir is not used: {error}.")
        return None


def configured_store() -> RemoteStore:
    """Return the store.

    :raises CosmosValueError: naming the setting that is wrong or missing.
    :raises RemoteError: when its key cannot be had now.
    """
    url, key = settings.remote_environment_dir, signing_key()
    if not url:
        raise CosmosValueError("[cosmos_venv] remote_environment_dir is empty. Set it to a URL or a path.")
    if not key:
        raise CosmosValueError(
            f"[cosmos_venv] remote_environment_dir = {url!r} is set and nothing says whose environments may be run "
            "here. Set remote_key_conn_id or remote_key_file to a key that all workers share."
        )
    return RemoteStore(
        folder=SignedRemoteFolder(
            url=f"{url.rstrip('/')}/{FOLDER}",
            conn_id=settings.remote_environment_dir_conn_id or None,
            key=partial(bytes, key),  # no lambda: a detached builder gets it by pickle
        ),
        seconds=settings.remote_environment_timeout,
        may_push=settings.remote_environment_push,
    )


def store_of_command(*, only_fetches: bool) -> RemoteStore:
    """Return the store for a command that waits longer than a task.

    :param only_fetches: whether the command builds nothing.
    :raises CosmosValueError: naming the setting that is wrong or missing.
    :raises VirtualenvError: when its key cannot be had now.
    """
    try:
        store = configured_store()
    except RemoteError as error:
        raise VirtualenvError(f"[cosmos_venv] remote_environment_dir cannot be used: {error}.") from None
    return replace(store, seconds=max(store.seconds, _PATIENCE), may_push=not only_fetches, is_required=only_fetches)


def variables_of_the_connection() -> dict[str, str]:
    """Return the variable by which a process that Airflow answers no questions reaches the store."""
    conn_id = connection_of(settings.remote_environment_dir, settings.remote_environment_dir_conn_id or None)
    if not conn_id:
        return {}
    try:
        return {f"AIRFLOW_CONN_{conn_id.upper()}": get_connection(conn_id).get_uri()}
    except Exception:  # noqa: BLE001 - the builder finds out, says so and builds
        return {}


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
    except Exception as error:  # each Airflow and each secrets backend has another one
        raise RemoteError(
            f"Airflow does not give the connection {conn_id!r}, whose password is the key ({type(error).__name__})",
            has_answered=True,
        ) from error


def _content(file: Path) -> bytes:
    try:
        # Kubernetes mounts a Secret as links. A pipe is not waited for.
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
