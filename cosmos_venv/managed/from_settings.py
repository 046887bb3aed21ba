"""The settings about environments, as the values that ``environments`` takes, which knows no settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.environments.store import DAY, BuildRequest, EnvironmentStore, PruneLimits, stores_of

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.choice import InstallerPreference
    from cosmos_venv.environments.spec import EnvironmentSpec


def prune_limits() -> PruneLimits:
    """Return the limits of what a ``virtualenv_dir`` may hold, as they are configured."""
    return PruneLimits(
        max_age=settings.virtualenv_prune_max_age_days * DAY,
        max_count=settings.virtualenv_prune_max_count,
        max_bytes=settings.virtualenv_prune_max_bytes,
        min_age=settings.virtualenv_prune_min_age,
    )


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
    """
    mode, may_be_open = settings.virtualenv_dir_mode, settings.virtualenv_dir_may_be_open
    return EnvironmentStore(directory, directory_mode=mode, may_be_open=may_be_open)


def build_request(spec: EnvironmentSpec, directory: Path, *, prunes: bool = True) -> BuildRequest:
    """Return the order to build an environment, should it be missing.

    :param spec: what it must hold.
    :param directory: the ``virtualenv_dir``.
    :param prunes: whether the directory's other environments are pruned after a build.
    """
    return BuildRequest(
        store=environment_store(directory),
        spec=spec,
        preference=installer(),
        max_tries=settings.virtualenv_max_retries_lock,
        limits=prune_limits() if prunes else None,
    )


def search_path() -> list[EnvironmentStore]:
    """Return the stores of ``virtualenv_search_path``.

    :raises CosmosValueError: for a relative path.
    """
    return stores_of(settings.virtualenv_search_path, may_be_open=settings.virtualenv_dir_may_be_open)
