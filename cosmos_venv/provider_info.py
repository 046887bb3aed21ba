"""The entry of this package in Airflow's list of providers, and its section of the configuration reference."""

from __future__ import annotations

from typing import Any

from cosmos_venv import __version__
from cosmos_venv.settings import SECTION, SETTINGS, Setting

_TYPES = {bool: "boolean", int: "integer", float: "float", str: "string"}


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow reads through the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "cosmos-venv",
        "name": "cosmos-venv",
        "description": "Runs dbt projects as Airflow DAGs, each with its own dbt in a managed virtual environment.",
        "versions": [__version__],
        "config": {
            SECTION: {
                "description": "Managed virtual environments for dbt.",
                "options": {name: _option(setting) for name, setting in SETTINGS.items()},
            }
        },
    }


def _option(setting: Setting) -> dict[str, Any]:
    # No default: Airflow would answer with it for [cosmos_venv], and a value under [cosmos] would never be looked at.
    return {
        "description": f"{setting.meaning} Default: {setting.default}." if setting.default != "" else setting.meaning,
        "version_added": __version__,
        "type": _TYPES[type(setting.default)],
        "example": str(setting.default),
        "default": None,
    }
