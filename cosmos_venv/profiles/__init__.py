"""From an Airflow Connection to a dbt profile: one mapping class per way to log in to a warehouse."""

from __future__ import annotations

from cosmos_venv.profiles.base import BaseProfileMapping, DbtProfileConfigVars
from cosmos_venv.profiles.duckdb import DuckDBUserPasswordProfileMapping
from cosmos_venv.profiles.postgres import PostgresUserPasswordProfileMapping

__all__ = [
    "BaseProfileMapping",
    "DbtProfileConfigVars",
    "DuckDBUserPasswordProfileMapping",
    "PostgresUserPasswordProfileMapping",
]
