"""The settings about environments, as the values that ``environments`` takes, which knows no settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.environments.store import DAY, EnvironmentStore, PruneLimits, stores_of
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files import permissions

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.choice import InstallerPreference


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
    if named:
        return "uv" if named == "uv" else "pip" if named == "pip" else "auto"
    from cosmos_venv.compat import venv_install_method  # imports Airflow, which a detached process does without

    return venv_install_method()


def environment_store(directory: Path) -> EnvironmentStore:
    """Return the environments below a ``virtualenv_dir``.

    :param directory: the ``virtualenv_dir``; made when the first environment is built.
    :raises CosmosValueError: as ``directory_mode``.
    """
    return EnvironmentStore(directory, directory_mode=directory_mode(), may_be_open=settings.virtualenv_dir_may_be_open)


def store_to_search(directory: Path) -> EnvironmentStore:
    """Return the environments below a ``virtualenv_dir`` for a process that builds none: no setting of building counts.

    :param directory: the ``virtualenv_dir``.
    """
    return EnvironmentStore(directory, may_be_open=settings.virtualenv_dir_may_be_open)


def search_path() -> list[EnvironmentStore]:
    """Return the stores of ``virtualenv_search_path``.

    :raises CosmosValueError: for a relative path.
    """
    return stores_of(settings.virtualenv_search_path, may_be_open=settings.virtualenv_dir_may_be_open)
