"""The lookup of names in public modules: the name, or the error that says what the module has.

A user who moves a DAG here by changing one word is told what is missing, instead of "cannot import name". The price:
``hasattr`` and ``getattr`` with a default raise ImportError for a name such as ``DbtRunDockerOperator``. Python's
``from ... import`` keeps the text of no other error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

PROFILE_MAPPINGS = {
    "athena.access_key": "AthenaAccessKeyProfileMapping",
    "clickhouse.user_pass": "ClickhouseUserPasswordProfileMapping",
    "bigquery.service_account_file": "GoogleCloudServiceAccountFileProfileMapping",
    "bigquery.service_account_keyfile_dict": "GoogleCloudServiceAccountDictProfileMapping",
    "bigquery.oauth": "GoogleCloudOauthProfileMapping",
    "databricks.token": "DatabricksTokenProfileMapping",
    "databricks.oauth": "DatabricksOauthProfileMapping",
    "duckdb.user_pass": "DuckDBUserPasswordProfileMapping",
    "mysql.user_pass": "MysqlUserPasswordProfileMapping",
    "oracle.user_pass": "OracleUserPasswordProfileMapping",
    "postgres.user_pass": "PostgresUserPasswordProfileMapping",
    "redshift.user_pass": "RedshiftUserPasswordProfileMapping",
    "snowflake.user_pass": "SnowflakeUserPasswordProfileMapping",
    "snowflake.user_encrypted_privatekey_file": "SnowflakeEncryptedPrivateKeyFilePemProfileMapping",
    "snowflake.user_encrypted_privatekey_env_variable": "SnowflakeEncryptedPrivateKeyPemProfileMapping",
    "snowflake.user_privatekey": "SnowflakePrivateKeyPemProfileMapping",
    "snowflake.user_privatekey_file": "SnowflakePrivateKeyFilePemProfileMapping",
    "starrocks.user_pass": "StarrocksUserPasswordProfileMapping",
    "spark.thrift": "SparkThriftProfileMapping",
    "exasol.user_pass": "ExasolUserPasswordProfileMapping",
    "teradata.user_pass": "TeradataUserPasswordProfileMapping",
    "trino.ldap": "TrinoLDAPProfileMapping",
    "trino.certificate": "TrinoCertificateProfileMapping",
    "trino.jwt": "TrinoJWTProfileMapping",
    "vertica.user_pass": "VerticaUserPasswordProfileMapping",
    "sqlserver.standard_sqlserver_auth": "StandardSQLServerAuth",
}
"""The mapping classes in the order in which they are tried for a Connection, by Cosmos's modules below ``profiles``.

The first part of such a path is the module here.
"""

_BASES = {"snowflake.base": "SnowflakeBaseProfileMapping", "trino.base": "TrinoBaseProfileMapping"}


_INSTEAD = {
    "AIConfig": "no failure is sent to a language model here. Give an on_failure_callback in default_args or "
    "operator_args, which asks one: the exception of a failed task has dbt's own errors.",
    **dict.fromkeys(
        ("airflow_kwargs", "specific_kwargs"),
        "DbtDag and DbtTaskGroup split their arguments themselves. Make a subclass of one of them, which takes "
        "Airflow's arguments and those of the project together.",
    ),
}
"""What to use instead of a name that Cosmos has, where no other name is meant."""
_SHOW = (
    "rows of dbt show would stand in a log. Read the table by Airflow's SQL operators, or give them a node's SQL from "
    "target/compiled in a callback of dbt compile."
)
_OF_SHOW = "DbtShow"
"""The beginning of the name of an operator of ``dbt show``, which Cosmos does not have either."""


def name_lookup(module: str, homes: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a public module (PEP 562). Hide it from type checkers, for which every name would
    exist.

    It raises ImportError for a name that begins with ``Dbt``, or that has something else in its place. For any other
    name it raises AttributeError.

    :param module: its ``__name__``.
    :param homes: names that are imported when they are first asked for, each with its ``module:attribute``, or with
        ``module:`` where the name is that of the module.
    """

    def look_up(name: str) -> Any:
        names = vars(sys.modules[module])
        if homes and name in homes:
            home, _, attribute = homes[name].partition(":")
            found = import_module(home)
            names[name] = getattr(found, attribute) if attribute else found
            return names[name]
        if instead := _SHOW if name.startswith(_OF_SHOW) else _INSTEAD.get(name):
            raise ImportError(f"cosmos-venv does not have {name}: {instead}")
        if name.startswith("Dbt"):
            raise ImportError(f"cosmos-venv does not have {name}. {module} has {', '.join(names['__all__'])}.")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return look_up


def add_deep_modules(package: str) -> None:
    """Make the import paths of Cosmos for single profile mappings, since one module here holds several mappings.

    The modules are found when they are imported, and import nothing before a name is asked for. A type checker does not
    see the modules.

    :param package: the ``__name__`` of ``profiles``.
    """
    for path, name in {**PROFILE_MAPPINGS, **_BASES}.items():
        home = f"{package}.{path.partition('.')[0]}"
        module = ModuleType(f"{package}.{path}", f"Cosmos's import path of a name in ``{home}``.")
        hook = name_lookup(module.__name__, {name: f"{home}:{name}"})
        vars(module).update({"__all__": [name], "__getattr__": hook})
        sys.modules[module.__name__] = module
