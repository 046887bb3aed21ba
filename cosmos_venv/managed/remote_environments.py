"""The remote store of environments, as it is configured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.compat import dags_folder, get_connection
from cosmos_venv.environments import detached
from cosmos_venv.environments.archive.remote_store import RemoteStore
from cosmos_venv.environments.archive.signed_record import Signer
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files.durable_files import in_one_step, write_new
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.untrusted import parsed
from cosmos_venv.managed.signing_key import NoKey, handed_down, signing_key
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.remote.object_store import RemoteFolder, connection_of

FOLDER = "environments-v1"
"""Its name below ``remote_environment_dir``. The layout's version is in it."""

_PATIENCE = 600
_KEY = "key"  # no name that a variable has


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
    folder, signer = remote_folder(), Signer(key=signing_key(), locked=_locked())
    if not (signer.key or settings.remote_environment_lock):
        raise CosmosValueError(
            f"[cosmos_venv] remote_environment_dir = {settings.remote_environment_dir!r} is set and nothing says whose "
            "environments may be run here. Set remote_key_conn_id or remote_key_file to a key that all workers share, "
            "or remote_environment_lock to a lock file."
        )
    return RemoteStore(
        folder=folder,
        signer=signer,
        seconds=settings.remote_environment_timeout,
        may_push=settings.remote_environment_push and bool(signer.key),
    )


def store_to_fetch_from() -> RemoteStore:
    """Return the store for a command that builds nothing, and waits longer than a task.

    :raises CosmosValueError: naming the setting that is wrong or missing.
    :raises VirtualenvError: when its key cannot be had now.
    """
    with _naming_the_key():
        store = configured_store()
    return replace(store, seconds=max(store.seconds, _PATIENCE), may_push=False, is_required=True)


def store_to_push_to(lock: Path | None) -> RemoteStore:
    """Return the store for a command that puts environments there, and waits longer than a task.

    :param lock: the lock file that will name what is put there, so that no key is needed; it need not exist. None:
        there is none.
    :raises CosmosValueError: naming the setting that is wrong or missing.
    :raises VirtualenvError: when its key cannot be had now.
    """
    with _naming_the_key():
        key = signing_key()
    if not (key or lock):
        raise CosmosValueError(
            "There is no key to sign environments with, so nobody would use them. Set [cosmos_venv] remote_key_conn_id "
            "or remote_key_file, or give --lock a lock file that will name them."
        )
    locked = read_lock(lock, given_as="--lock") if lock is not None and lock.exists() else {}
    return RemoteStore(
        folder=remote_folder(),
        signer=Signer(key=key, locked=locked),
        seconds=max(settings.remote_environment_timeout, _PATIENCE),
    )


@contextmanager
def _naming_the_key() -> Iterator[None]:
    try:
        yield
    except NoKey as error:
        raise VirtualenvError(f"[cosmos_venv] remote_environment_dir cannot be used: {error}.") from None


def remote_folder() -> RemoteFolder:
    """Return the folder of environments.

    :raises CosmosValueError: when none is configured.
    """
    url = settings.remote_environment_dir
    if not url:
        raise CosmosValueError("[cosmos_venv] remote_environment_dir is empty. Set it to a URL or a path.")
    return RemoteFolder(url=f"{url.rstrip('/')}/{FOLDER}", conn_id=settings.remote_environment_dir_conn_id or None)


def _locked() -> dict[tuple[str, str], str]:
    given = settings.remote_environment_lock
    return read_lock(dags_folder() / given) if given else {}  # an absolute path stays itself


def read_lock(file: Path, *, given_as: str = "[cosmos_venv] remote_environment_lock") -> dict[tuple[str, str], str]:
    """Return the records that a lock file names: their SHA-256 by portable digest and platform key.

    :param file: its path.
    :param given_as: the setting or option that names it.
    :raises CosmosValueError: when it cannot be read or is no lock file.
    """
    try:
        named = parsed(read_file(file), dict[str, dict[str, str]])
    except (OSError, ValueError) as error:
        raise CosmosValueError(
            f"{given_as} = {str(file)!r} cannot be read: {error}. Write it with cosmos-venv env push --lock."
        ) from error
    return {(digest, platform): sha256 for digest, platforms in named.items() for platform, sha256 in platforms.items()}


def write_lock(file: Path, locked: Mapping[tuple[str, str], str]) -> None:
    """Let a lock file name records, beside those of other environments and platforms that it names already.

    :param file: its path; it need not exist.
    :param locked: as ``read_lock`` returns it.
    :raises CosmosValueError: when what stands there cannot be read or is no lock file.
    :raises OSError: when it cannot be written.
    """
    named: dict[str, dict[str, str]] = {}
    before = read_lock(file, given_as="--lock") if file.exists() else {}
    for (digest, platform), sha256 in {**before, **locked}.items():
        named.setdefault(digest, {})[platform] = sha256
    with in_one_step(file) as apart:
        write_new(apart, json.dumps(named, indent=2, sort_keys=True) + "\n")


def for_a_detached_builder() -> Mapping[str, str]:
    """Return what a builder in a process of its own needs: Airflow answers no questions there.

    Variables for its environment, and the key, which is none.
    """
    if not settings.remote_environment_dir:
        return {}
    conn_id = connection_of(settings.remote_environment_dir, settings.remote_environment_dir_conn_id or None)
    try:
        key = signing_key()
        uri = get_connection(conn_id).get_uri() if conn_id else ""
    except Exception:  # noqa: BLE001 - the builder finds out, says so and builds
        return {}
    variables = {_KEY: key.hex()} if key else {}
    return {**variables, f"AIRFLOW_CONN_{conn_id.upper()}": uri} if conn_id else variables


def build(request: bytes, cancellation: Cancellation) -> str:
    """Fetch or build what was asked for, in the builder process.

    :param request: that of ``environments.detached``, with ``variables`` of ``for_a_detached_builder``.
    :param cancellation: ends waiting and building.
    :returns: what went wrong; empty when nothing did.
    """
    variables = json.loads(request)["variables"]
    handed_down.set(bytes.fromhex(variables.pop(_KEY, "")))
    os.environ.update(variables)
    return detached.build(request, cancellation, remote=lambda: remote_store(print))
