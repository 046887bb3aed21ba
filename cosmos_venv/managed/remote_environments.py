"""The remote store of environments, as it is configured."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from cosmos_venv import settings
from cosmos_venv.compat import get_connection
from cosmos_venv.environments.remote_store import RemoteStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.managed.signing_key import signing_key
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.object_store import RemoteFolder, connection_of

FOLDER = "environments-v1"
"""The name of the store's folder below ``remote_environment_dir``. It holds the version of the layout."""

_PATIENCE = 600


def configured_store() -> RemoteStore:
    """Return the store.

    :raises CosmosValueError: naming the setting that is wrong or missing.
    :raises VirtualenvError: when its key cannot be had now.
    """
    url = settings.remote_environment_dir
    try:
        key = signing_key()
    except RemoteError as error:
        raise VirtualenvError(f"[cosmos_venv] remote_environment_dir cannot be used: {error}.") from None
    if not url:
        raise CosmosValueError("[cosmos_venv] remote_environment_dir is empty. Set it to a URL or a path.")
    if not key:
        raise CosmosValueError(
            f"[cosmos_venv] remote_environment_dir = {url!r} is set and nothing says whose environments may be run "
            "here. Set remote_key_conn_id or remote_key_file to a key that all workers share."
        )
    return RemoteStore(
        folder=RemoteFolder(
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
    store = configured_store()
    return replace(store, seconds=max(store.seconds, _PATIENCE), may_push=not only_fetches, is_required=only_fetches)


def variables_of_the_connection() -> dict[str, str]:
    """Return the variable with the connection of the store, for a builder process that cannot ask Airflow."""
    conn_id = connection_of(settings.remote_environment_dir, settings.remote_environment_dir_conn_id or None)
    if not conn_id:
        return {}
    try:
        return {f"AIRFLOW_CONN_{conn_id.upper()}": get_connection(conn_id).get_uri()}
    except Exception:  # noqa: BLE001 - the builder reports that it cannot reach the store, and builds
        return {}
