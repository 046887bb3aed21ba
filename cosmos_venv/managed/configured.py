"""What do the settings say about environments? In the words of ``cosmos_venv.environments``, which knows none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import settings, trust
from cosmos_venv.compat import venv_install_method
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.upkeep import DAY, PruneLimits, Upkeep
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.environments.installer import InstallerPreference


def prune_limits() -> PruneLimits:
    """What a ``virtualenv_dir`` may hold, as it is configured.

    :raises CosmosValueError: naming the setting that is negative.
    """
    for name in ("max_age_days", "max_count", "max_bytes", "min_age"):
        if (value := getattr(settings, f"virtualenv_prune_{name}")) < 0:
            raise CosmosValueError(f"[cosmos_venv] virtualenv_prune_{name} = {value}: it can be 0 or more.")
    return PruneLimits(
        max_age=settings.virtualenv_prune_max_age_days * DAY,
        max_count=settings.virtualenv_prune_max_count,
        max_bytes=settings.virtualenv_prune_max_bytes,
        min_age=settings.virtualenv_prune_min_age,
    )


def upkeep() -> Upkeep:
    """What happens to a ``virtualenv_dir`` with each build, as it is configured."""
    return Upkeep(limits=prune_limits(), keep_failed=settings.virtualenv_keep_failed)


def directory_mode() -> int | None:
    """Permissions of the directories that are made for environments; None: as in the directory above.

    :raises CosmosValueError: when ``[cosmos_venv] virtualenv_dir_mode`` cannot be what it is.
    """
    return trust.directory_mode(settings.virtualenv_dir_mode)


def installer() -> InstallerPreference:
    """Which installer builds: ``[cosmos_venv] virtualenv_installer``, else what Airflow says."""
    named = settings.virtualenv_installer
    if named == "airflow":
        from cosmos_venv.airflow_installer import AIRFLOW_INSTALLER

        return AIRFLOW_INSTALLER
    return "uv" if named == "uv" else "pip" if named == "pip" else "auto" if named else venv_install_method()


def environment_store(directory: Path) -> EnvironmentStore:
    """The environments below a ``virtualenv_dir``."""
    return EnvironmentStore(directory, directory_mode=directory_mode())
