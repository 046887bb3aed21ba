"""The mapping classes that make a dbt profile of an Airflow Connection, one for each way to log in to a warehouse.

The names are imported when they are first used: a DAG file wants one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.public_names import add_deep_modules, name_lookup

if TYPE_CHECKING:
    from cosmos_venv.profiles.athena import AthenaAccessKeyProfileMapping
    from cosmos_venv.profiles.automatic import get_automatic_profile_mapping, profile_mappings
    from cosmos_venv.profiles.base import BaseProfileMapping, DbtProfileConfigVars
    from cosmos_venv.profiles.bigquery import (
        GoogleCloudOauthProfileMapping,
        GoogleCloudServiceAccountDictProfileMapping,
        GoogleCloudServiceAccountFileProfileMapping,
    )
    from cosmos_venv.profiles.clickhouse import ClickhouseUserPasswordProfileMapping
    from cosmos_venv.profiles.databricks import DatabricksOauthProfileMapping, DatabricksTokenProfileMapping
    from cosmos_venv.profiles.duckdb import DuckDBUserPasswordProfileMapping
    from cosmos_venv.profiles.exasol import ExasolUserPasswordProfileMapping
    from cosmos_venv.profiles.mysql import MysqlUserPasswordProfileMapping
    from cosmos_venv.profiles.oracle import OracleUserPasswordProfileMapping
    from cosmos_venv.profiles.postgres import PostgresUserPasswordProfileMapping
    from cosmos_venv.profiles.redshift import RedshiftUserPasswordProfileMapping
    from cosmos_venv.profiles.snowflake import (
        SnowflakeEncryptedPrivateKeyFilePemProfileMapping,
        SnowflakeEncryptedPrivateKeyPemProfileMapping,
        SnowflakePrivateKeyFilePemProfileMapping,
        SnowflakePrivateKeyPemProfileMapping,
        SnowflakeUserPasswordProfileMapping,
    )
    from cosmos_venv.profiles.spark import SparkThriftProfileMapping
    from cosmos_venv.profiles.sqlserver import StandardSQLServerAuth
    from cosmos_venv.profiles.starrocks import StarrocksUserPasswordProfileMapping
    from cosmos_venv.profiles.teradata import TeradataUserPasswordProfileMapping
    from cosmos_venv.profiles.trino import (
        TrinoCertificateProfileMapping,
        TrinoJWTProfileMapping,
        TrinoLDAPProfileMapping,
    )
    from cosmos_venv.profiles.vertica import VerticaUserPasswordProfileMapping

_HOMES = {
    "AthenaAccessKeyProfileMapping": "athena",
    "BaseProfileMapping": "base",
    "ClickhouseUserPasswordProfileMapping": "clickhouse",
    "DatabricksOauthProfileMapping": "databricks",
    "DatabricksTokenProfileMapping": "databricks",
    "DbtProfileConfigVars": "base",
    "DuckDBUserPasswordProfileMapping": "duckdb",
    "ExasolUserPasswordProfileMapping": "exasol",
    "GoogleCloudOauthProfileMapping": "bigquery",
    "GoogleCloudServiceAccountDictProfileMapping": "bigquery",
    "GoogleCloudServiceAccountFileProfileMapping": "bigquery",
    "MysqlUserPasswordProfileMapping": "mysql",
    "OracleUserPasswordProfileMapping": "oracle",
    "PostgresUserPasswordProfileMapping": "postgres",
    "RedshiftUserPasswordProfileMapping": "redshift",
    "SnowflakeEncryptedPrivateKeyFilePemProfileMapping": "snowflake",
    "SnowflakeEncryptedPrivateKeyPemProfileMapping": "snowflake",
    "SnowflakePrivateKeyFilePemProfileMapping": "snowflake",
    "SnowflakePrivateKeyPemProfileMapping": "snowflake",
    "SnowflakeUserPasswordProfileMapping": "snowflake",
    "SparkThriftProfileMapping": "spark",
    "StandardSQLServerAuth": "sqlserver",
    "StarrocksUserPasswordProfileMapping": "starrocks",
    "TeradataUserPasswordProfileMapping": "teradata",
    "TrinoCertificateProfileMapping": "trino",
    "TrinoJWTProfileMapping": "trino",
    "TrinoLDAPProfileMapping": "trino",
    "VerticaUserPasswordProfileMapping": "vertica",
    "get_automatic_profile_mapping": "automatic",
    "profile_mappings": "automatic",
}

__all__ = [
    "AthenaAccessKeyProfileMapping",
    "BaseProfileMapping",
    "ClickhouseUserPasswordProfileMapping",
    "DatabricksOauthProfileMapping",
    "DatabricksTokenProfileMapping",
    "DbtProfileConfigVars",
    "DuckDBUserPasswordProfileMapping",
    "ExasolUserPasswordProfileMapping",
    "GoogleCloudOauthProfileMapping",
    "GoogleCloudServiceAccountDictProfileMapping",
    "GoogleCloudServiceAccountFileProfileMapping",
    "MysqlUserPasswordProfileMapping",
    "OracleUserPasswordProfileMapping",
    "PostgresUserPasswordProfileMapping",
    "RedshiftUserPasswordProfileMapping",
    "SnowflakeEncryptedPrivateKeyFilePemProfileMapping",
    "SnowflakeEncryptedPrivateKeyPemProfileMapping",
    "SnowflakePrivateKeyFilePemProfileMapping",
    "SnowflakePrivateKeyPemProfileMapping",
    "SnowflakeUserPasswordProfileMapping",
    "SparkThriftProfileMapping",
    "StandardSQLServerAuth",
    "StarrocksUserPasswordProfileMapping",
    "TeradataUserPasswordProfileMapping",
    "TrinoCertificateProfileMapping",
    "TrinoJWTProfileMapping",
    "TrinoLDAPProfileMapping",
    "VerticaUserPasswordProfileMapping",
    "get_automatic_profile_mapping",
    "profile_mappings",
]


if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__, {name: f"{__name__}.{home}:{name}" for name, home in _HOMES.items()})

add_deep_modules(__name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
