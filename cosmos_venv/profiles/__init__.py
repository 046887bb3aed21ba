"""The mapping classes that make a dbt profile of an Airflow Connection, one for each way to log in to a warehouse.

The names are imported when they are first used: a DAG file wants one of them.
"""

# ruff: noqa: F403 - PROFILE_MAPPINGS has the names, and a type checker finds them in the modules.
from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.public_names import PROFILE_MAPPINGS, add_deep_modules, name_lookup

_HOMES = {
    "BaseProfileMapping": "base",
    "DbtProfileConfigVars": "base",
    "get_automatic_profile_mapping": "automatic",
    "profile_mappings": "automatic",
    **{name: path.partition(".")[0] for path, name in PROFILE_MAPPINGS.items()},
}

if TYPE_CHECKING:
    from cosmos_venv.profiles.athena import *
    from cosmos_venv.profiles.automatic import *
    from cosmos_venv.profiles.base import *
    from cosmos_venv.profiles.bigquery import *
    from cosmos_venv.profiles.clickhouse import *
    from cosmos_venv.profiles.databricks import *
    from cosmos_venv.profiles.duckdb import *
    from cosmos_venv.profiles.exasol import *
    from cosmos_venv.profiles.mysql import *
    from cosmos_venv.profiles.oracle import *
    from cosmos_venv.profiles.postgres import *
    from cosmos_venv.profiles.redshift import *
    from cosmos_venv.profiles.snowflake import *
    from cosmos_venv.profiles.spark import *
    from cosmos_venv.profiles.sqlserver import *
    from cosmos_venv.profiles.starrocks import *
    from cosmos_venv.profiles.teradata import *
    from cosmos_venv.profiles.trino import *
    from cosmos_venv.profiles.vertica import *

if not TYPE_CHECKING:
    __all__ = sorted(_HOMES)  # noqa: PLE0605 - of the one table
    __getattr__ = name_lookup(__name__, {name: f"{__name__}.{home}:{name}" for name, home in _HOMES.items()})

add_deep_modules(__name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
