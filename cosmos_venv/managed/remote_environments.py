"""The remote store of environments, as it is configured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.compat import dags_folder, get_connection
from cosmos_venv.environments import detached
from cosmos_venv.environments.archive.remote_store import RemoteStore
from cosmos_venv.environments.archive.signed_record import Trust
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.managed.signing_key import KEY_VARIABLE, NoKey, signing_key
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.remote.object_store import RemoteFolder, connection_of

FOLDER = "environments-v1"
"""Its name below ``remote_environment_dir``. The layout's version is in it."""


def remote_store(warn: Callable[[str], None]) -> RemoteStore | None:
    """Return the store for a task; None where none is configured, or its key cannot be had now.

    :param warn: gets a line in the latter case.
    :raises CosmosValueError: naming the setting that is wrong or missing.
    """
    if not settings.remote_environment_dir:
        return None
    try:
        return configured_store()
    except NoKey as error:
        warn(f"[cosmos_venv] remote_environment_dir is not used: {error}.")
        return None


def configured_store() -> RemoteStore:
    """Return the store.

    :raises CosmosValueError: naming the setting that is wrong or missing.
    :raises NoKey: when its key cannot be had now.
    """
    url = settings.remote_environment_dir
    if not url:
        raise CosmosValueError("[cosmos_venv] remote_environment_dir is empty. Set it to a URL or a path.")
    trust = Trust(key=signing_key(), locked=_locked())
    if not (trust.key or settings.remote_environment_lock):
        raise CosmosValueError(
            f"[cosmos_venv] remote_environment_dir = {url!r} is set and nothing says whose environments may be run "
            "here. Set remote_key_conn_id or remote_key_file to a key that all workers share, "
            "or remote_environment_lock to a lock file."
        )
    return RemoteStore(
        folder=RemoteFolder(url=f"{url.rstrip('/')}/{FOLDER}", conn_id=settings.remote_environment_dir_conn_id or None),
        trust=trust,
        seconds=settings.remote_environment_timeout,
        may_push=settings.remote_environment_push and bool(trust.key),
    )


def lock_file() -> Path | None:
    """Return the lock file of remote environments; None where none is configured."""
    given = settings.remote_environment_lock
    return dags_folder() / given if given else None  # an absolute path stays itself


def _locked() -> dict[tuple[str, str], str]:
    file = lock_file()
    return {} if file is None else read_lock(file)


def read_lock(file: Path) -> dict[tuple[str, str], str]:
    """Return the records that a lock file names: their SHA-256 by portable digest and platform key.

    :param file: its path.
    :raises CosmosValueError: when it cannot be read or is no lock file.
    """
    import msgspec  # few tasks look

    try:
        named = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, str]])
    except (OSError, ValueError) as error:
        raise CosmosValueError(
            f"[cosmos_venv] remote_environment_lock = {str(file)!r} cannot be read: {error}. Write it with cosmos-venv "
            "env push --lock."
        ) from error
    return {(digest, platform): sha256 for digest, platforms in named.items() for platform, sha256 in platforms.items()}


def for_a_detached_builder() -> Mapping[str, str]:
    """Return the variables that a builder in a process of its own needs: Airflow answers no questions there."""
    if not settings.remote_environment_dir:
        return {}
    conn_id = connection_of(settings.remote_environment_dir, settings.remote_environment_dir_conn_id or None)
    try:
        key = signing_key()
        uri = get_connection(conn_id).get_uri() if conn_id else ""
    except Exception:  # noqa: BLE001 - the builder finds out, says so and builds
        return {}
    variables = {KEY_VARIABLE: key.decode(errors="replace")} if key else {}
    return {**variables, f"AIRFLOW_CONN_{conn_id.upper()}": uri} if conn_id else variables


def build(request: bytes, cancellation: Cancellation) -> str:
    """Fetch or build what was asked for, in the builder process.

    :param request: that of ``environments.detached``, with ``variables`` of ``for_a_detached_builder``.
    :param cancellation: ends waiting and building.
    :returns: what went wrong; empty when nothing did.
    """
    os.environ.update(json.loads(request)["variables"])
    return detached.build(request, cancellation, remote=lambda: remote_store(print))
