"""The caches of this machine's user, as they are configured: where they lie, and how much each keeps.

Each cache is a folder of files. The name of a file is a digest of all that its content depends on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cosmos_venv import settings
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.os_errors import temporary_folder
from cosmos_venv.files.own_files import make_private

if TYPE_CHECKING:
    from cosmos_venv.files.read_limits import Limit
    from cosmos_venv.remote.object_store import RemoteFolder, SignedFolder

# More than a deployment has: with a lower limit, DAG files that are parsed in turn would evict each other for ever.
_MOST_DAGS = 500
_MOST_FINGERPRINTS = 4_000  # of projects and manifests, with all their older versions


def cache_dir() -> Path:
    """Return the folder of all caches: the setting's, else one of this user below the temporary folder."""
    # Not tempfile.gettempdir, which raises where all folders are full: the worker may have room for its task.
    return Path(settings.cache_dir or f"{temporary_folder()}/cosmos-venv-{os.getuid()}")


def environments_for_parsing() -> Path:
    """Return the ``virtualenv_dir`` in which ``dbt ls`` runs for tasks that keep no environment."""
    folder = cache_dir() / "environments"
    with suppress(OSError):  # the builder that uses the folder reports it
        make_private(folder)  # made by a builder, it would let others look into all caches
    return folder


def kept_listings() -> FileCache | None:
    """Return the cache of answers of ``dbt ls``; None where nothing is to be kept."""
    if not (settings.enable_cache and settings.enable_cache_dbt_ls):
        return None
    # One file for an answer, and one for whether it is shared.
    return FileCache(folder=cache_dir() / "dbt-ls-v1", suffix=".answer", most=2 * _MOST_DAGS)


def remote_listings() -> RemoteFolder | None:
    """Return the folder of the answers of other machines, signed where there is a key; None without a cache, or without
    a ``remote_cache_dir``.
    """
    return _remote_folder("dbt-ls-v1") if kept_listings() and settings.remote_cache_dir else None


def remote_journals() -> RemoteFolder | None:
    """Return the folder of the journals of tasks of several nodes, each file signed; None where Airflow keeps them.

    Without a key, anybody who can write to the storage could make tasks green whose nodes are not built.
    """
    return _remote_folder("journals-v1") if _has_key() and settings.remote_cache_dir else None


def _remote_folder(name: str) -> RemoteFolder:
    from cosmos_venv.remote.object_store import RemoteFolder

    return RemoteFolder(
        url=f"{settings.remote_cache_dir.rstrip('/')}/{name}",
        conn_id=settings.remote_cache_dir_conn_id or None,
        key=_key if _has_key() else None,
    )


def remote_cache(kind: Literal["packages", "parse_files", "plans"]) -> SignedFolder | None:
    """Return the files of one kind that machines share; None where the setting ``remote_cache_<kind>`` is off.

    The storage is not asked, and no key is read, before the first file is wanted.

    :param kind: of the files.
    :raises CosmosValueError: where the setting is on, and the folder or the key is missing.
    """
    if not getattr(settings, f"remote_cache_{kind}"):
        return None
    if not (_has_key() and settings.remote_cache_dir):
        raise CosmosValueError(
            f"[cosmos_venv] remote_cache_{kind} is on, and it needs remote_cache_dir, and a key that all workers "
            "share: remote_key_conn_id or remote_key_file. Set them, or switch it off."
        )
    folder = _remote_folder(f"{kind.replace('_', '-')}-v1")
    return _signed_folder(folder, settings.remote_cache_timeout, settings.limit("artifact_max_bytes"))


@lru_cache(maxsize=16)
def _signed_folder(folder: RemoteFolder, seconds: float, limit: Limit) -> SignedFolder:
    # One for a process: a storage that does not answer is waited for once, however many DAGs a file has.
    from cosmos_venv.remote.object_store import SignedFolder

    return SignedFolder(folder=folder, seconds=seconds, limit=limit)


def _has_key() -> bool:
    return bool(settings.remote_key_conn_id or settings.remote_key_file)


def _key() -> bytes:
    return _kept_key(settings.remote_key_conn_id, settings.remote_key_file)


@cache  # reading a connection asks Airflow, and the triggerer reads every few seconds
def _kept_key(*_: str) -> bytes:
    from cosmos_venv.managed.signing_key import signing_key

    return signing_key()


def kept_manifests() -> FileCache | None:
    """Return the cache of manifests that lie elsewhere; None where nothing is to be kept."""
    return FileCache(folder=cache_dir() / "manifests-v1", suffix=".copy", most=20) if settings.enable_cache else None


def kept_plans() -> FileCache | None:
    """Return the cache of plans of DAGs; None where nothing is to be kept, and on Airflow 2: no worker reads them
    there.
    """
    from cosmos_venv.compat import IS_AIRFLOW_3

    if not (settings.enable_cache and settings.build_only_running_task and IS_AIRFLOW_3):
        return None
    return FileCache(folder=cache_dir() / "plans-v1", suffix=".jsonl", most=_MOST_DAGS, elsewhere=remote_cache("plans"))


def kept_fingerprints() -> FileCache | None:
    """Return the cache of project fingerprints, by size and time of files; None where nothing is to be kept."""
    if not settings.enable_cache:
        return None
    return FileCache(folder=cache_dir() / "fingerprints-v1", suffix=".json", most=_MOST_FINGERPRINTS)
