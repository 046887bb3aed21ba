"""From an Airflow Connection to a dbt profile: one mapping class per way to log in to a warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.profiles.base import BaseProfileMapping, DbtProfileConfigVars
from cosmos_venv.profiles.duckdb import DuckDBUserPasswordProfileMapping
from cosmos_venv.profiles.postgres import PostgresUserPasswordProfileMapping
from cosmos_venv.public_names import name_lookup

__all__ = [
    "BaseProfileMapping",
    "DbtProfileConfigVars",
    "DuckDBUserPasswordProfileMapping",
    "PostgresUserPasswordProfileMapping",
]

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
