"""The settings about environments and caches, as the values that ``environments``, ``files`` and ``remote`` take.

Those packages know no settings. Each cache is a folder of files under digests of all that their content depends on.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.compat import venv_install_method
from cosmos_venv.environments.layout import DAY, PruneLimits, StorePolicy
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files import permissions
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.os_errors import temporary_folder

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.choice import InstallerPreference
    from cosmos_venv.remote.object_store import RemoteFolder


# More than a deployment has: of fewer, files that are parsed one after another would push each other out for ever.
_MOST_DAGS = 500
_MOST_FINGERPRINTS = 4_000  # of projects, manifests and all that they once were


def cache_dir() -> Path:
    """Return the folder of all caches: the setting's, else one of this user below the temporary folder."""
    if settings.cache_dir:
        return Path(settings.cache_dir)
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:  # all are full: nothing is kept then, and a worker that has room for its task runs it
        folder = str(temporary_folder())
    return Path(f"{folder}/cosmos-venv-{os.getuid()}")


def kept_listings() -> FileCache | None:
    """Return the cache of listings by ``dbt ls``; None where nothing is to be kept."""
    if not (settings.enable_cache and settings.enable_cache_dbt_ls):
        return None
    return FileCache(folder=cache_dir() / "dbt-ls-v1", suffix=".jsonl", most=_MOST_DAGS)


def remote_listings() -> RemoteFolder | None:
    """Return the folder of listings by other machines; None where nothing is to be kept, or nowhere else."""
    if not settings.remote_cache_dir or kept_listings() is None:
        return None
    from cosmos_venv.remote.object_store import RemoteFolder

    url = f"{settings.remote_cache_dir.rstrip('/')}/dbt-ls-v1"
    return RemoteFolder(url=url, conn_id=settings.remote_cache_dir_conn_id or None)


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
    return FileCache(folder=cache_dir() / "plans-v1", suffix=".jsonl", most=_MOST_DAGS)


def kept_fingerprints() -> FileCache | None:
    """Return the cache of project fingerprints, by size and time of files; None where nothing is to be kept."""
    if not settings.enable_cache:
        return None
    return FileCache(folder=cache_dir() / "fingerprints-v1", suffix=".json", most=_MOST_FINGERPRINTS)


def prune_limits() -> PruneLimits:
    """Return the limits of what a ``virtualenv_dir`` may hold, as they are configured.

    :raises CosmosValueError: naming the setting that is negative.
    """
    # Here and not in PruneLimits alone: the user reads the name of the setting and not that of a field.
    for name in ("max_age_days", "max_count", "max_bytes", "min_age"):
        if (value := getattr(settings, f"virtualenv_prune_{name}")) < 0:
            raise CosmosValueError(f"[cosmos_venv] virtualenv_prune_{name} = {value}: it can be 0 or more.")
    return PruneLimits(
        max_age=settings.virtualenv_prune_max_age_days * DAY,
        max_count=settings.virtualenv_prune_max_count,
        max_bytes=settings.virtualenv_prune_max_bytes,
        min_age=settings.virtualenv_prune_min_age,
    )


def store_policy() -> StorePolicy:
    """Return the rules by which a ``virtualenv_dir`` is tidied with each build, as they are configured.

    :raises CosmosValueError: naming the setting that is negative.
    """
    return StorePolicy(limits=prune_limits(), keep_failed=settings.virtualenv_keep_failed)


def directory_mode() -> int | None:
    """Return the permissions of directories that are made for environments; None: as for ``StoreLayout``.

    :raises CosmosValueError: when ``[cosmos_venv] virtualenv_dir_mode`` cannot be what it is.
    """
    return permissions.directory_mode(settings.virtualenv_dir_mode)


def installer() -> InstallerPreference:
    """Return which installer builds: the one of ``[cosmos_venv] virtualenv_installer``, else that of Airflow."""
    named = settings.virtualenv_installer
    # Few choose it, and its module is not needed by the others.
    if named == "airflow":
        from cosmos_venv.managed.airflow_installer import AIRFLOW_INSTALLER

        return AIRFLOW_INSTALLER
    return "uv" if named == "uv" else "pip" if named == "pip" else "auto" if named else venv_install_method()


def environment_store(directory: Path) -> EnvironmentStore:
    """Return the environments below a ``virtualenv_dir``.

    :param directory: the ``virtualenv_dir``; made when the first environment is built.
    :raises CosmosValueError: as ``directory_mode``.
    """
    return EnvironmentStore(directory, directory_mode=directory_mode())
