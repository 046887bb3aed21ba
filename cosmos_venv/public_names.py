"""The lookup of names in public modules: the name, or the error that Cosmos has it and this release lacks it.

Someone who moves a DAG here by changing one word is told what is not there, instead of "cannot import name". The
price: ``hasattr`` and ``getattr`` with a default raise ImportError for such a name: nothing else survives an import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def _operators(suffix: str, *further: str) -> set[str]:
    verbs = ("Build", "LS", "Run", "RunOperation", "Seed", "Snapshot", "Test", *further)
    return {f"Dbt{verb}{suffix}" for verb in verbs}


_CONFIGS = {"ExecutionConfig", "ProfileConfig", "ProjectConfig", "RenderConfig"}
_ENUMS = set(
    """
    DbtResourceType ExecutionMode InvocationMode LoadMode SeedRenderingBehavior SourceRenderingBehavior TestBehavior
    TestIndirectSelection
    """.split()
)

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

_PROFILES = {
    "BaseProfileMapping",
    "DbtProfileConfigVars",
    "get_automatic_profile_mapping",
    "profile_mappings",
    *PROFILE_MAPPINGS.values(),
}
_BASES = {"snowflake.base": "SnowflakeBaseProfileMapping", "trino.base": "TrinoBaseProfileMapping"}

COSMOS_NAMES: Mapping[str, frozenset[str]] = {
    module: frozenset(names)
    for module, names in {
        "": {
            "DbtDag",
            "DbtTaskGroup",
            "MissingPackage",
            *(_CONFIGS | _ENUMS),
            *_operators("LocalOperator", "Clone", "Deps"),
            *_operators("DockerOperator", "Clone"),
            *_operators("KubernetesOperator", "Clone"),
            *_operators("AzureContainerInstanceOperator", "Clone"),
            *_operators("AwsEksOperator", "Clone"),
            *_operators("AwsEcsOperator", "Source"),
            *_operators("GcpCloudRunJobOperator", "Clone"),
        },
        "airflow.dag": {"DbtDag"},
        "airflow.task_group": {"DbtTaskGroup"},
        "config": {*_CONFIGS, "CosmosConfigException"},
        "constants": {
            *_ENUMS,
            "DBT_SETUP_ASYNC_TASK_ID",
            "DBT_TEARDOWN_ASYNC_TASK_ID",
            "DEFAULT_PROFILES_FILE_NAME",
            "PRODUCER_WATCHER_DONE_TASK_ID",
            "PRODUCER_WATCHER_TASK_ID",
        },
        "converter": {
            "DbtToAirflowConverter",
            "airflow_kwargs",
            "override_configuration",
            "specific_kwargs",
            "validate_arguments",
            "validate_initial_user_config",
        },
        "exceptions": {"AirflowCompatibilityError", "CosmosDbtRunError", "CosmosValueError"},
        "io": {f"upload_to_{place}" for place in ("aws_s3", "azure_wasb", "cloud_storage", "gcp_gs")},
        "operators": _operators("Operator", "Deps", "Docs", "DocsAzureStorage", "DocsGCS", "DocsS3"),
        "operators.airflow_async": _operators("AirflowAsyncOperator", "Clone", "Compile", "Source"),
        "operators.base": {"AbstractDbtBase", *_operators("Mixin", "Clone", "Compile", "Source")},
        "operators.local": {
            "AbstractDbtLocalBase",
            "DbtLocalBaseOperator",
            *_operators("LocalOperator", "Clone", "Compile", "Deps", "Source"),
            *(f"DbtDocs{place}LocalOperator" for place in ("", "AzureStorage", "Cloud", "GCS", "S3")),
        },
        "operators.virtualenv": {
            "DbtVirtualenvBaseOperator",
            *_operators("VirtualenvOperator", "Clone", "Docs", "Source"),
        },
        "operators.watcher": {
            "DbtConsumerWatcherSensor",
            "DbtProducerWatcherOperator",
            *(f"Dbt{verb}WatcherOperator" for verb in ("Build", "Run", "Seed", "Snapshot", "Source", "Test")),
        },
        "profiles": _PROFILES,
        **{f"profiles.{path}": {name} for path, name in {**PROFILE_MAPPINGS, **_BASES}.items()},
    }.items()
}
"""The public names of Cosmos 1.15, by module below the package."""


_DEPS = (
    "dbt deps is no task of its own, for what it installs would be gone with it. Each command installs what it needs: "
    "give install_deps=True (the default) to the operators, or install_dbt_deps=True to ProjectConfig."
)
_SPLIT = (
    "DbtDag and DbtTaskGroup split their arguments themselves. Make a subclass of one of them, which takes Airflow's "
    "arguments and those of the project together."
)
_SHOW = (
    "rows of dbt show would stand in a log. Read the table by Airflow's SQL operators, or give them a node's SQL from "
    "target/compiled in a callback of dbt compile."
)
_INSTEAD = {
    "DbtDepsLocalOperator": _DEPS,
    "DbtDepsOperator": _DEPS,
    "airflow_kwargs": _SPLIT,
    "specific_kwargs": _SPLIT,
}
"""What to use instead of a name that Cosmos has, where no other name is meant."""
_OF_SHOW = "DbtShow"
"""How operators of ``dbt show`` would be called, which Cosmos does not have either."""


def name_lookup(module: str, homes: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a public module (PEP 562). Hide it from type checkers, for which every name would
    exist.

    It raises ImportError for a name that Cosmos has and the module lacks, with those that it has, and for an operator
    of ``dbt show``; AttributeError for any other.

    :param module: its ``__name__``.
    :param homes: names that are imported when they are first asked for, each with its ``module:attribute``.
    """

    def look_up(name: str) -> Any:
        if homes and name in homes:
            home, _, attribute = homes[name].partition(":")
            value = getattr(import_module(home), attribute)
            vars(sys.modules[module])[name] = value
            return value
        names_of_cosmos = COSMOS_NAMES.get(module.partition(".")[2], frozenset())
        is_of_show = name.startswith(_OF_SHOW)
        if name in names_of_cosmos or is_of_show:
            if instead := _SHOW if is_of_show else _INSTEAD.get(name):
                raise ImportError(f"cosmos-venv does not have {name}: {instead}")
            offered = names_of_cosmos & {*vars(sys.modules[module]), *(homes or ())}
            raise ImportError(f"cosmos-venv does not have {name}. {module} has {', '.join(sorted(offered))}.")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return look_up


def add_deep_modules(package: str) -> None:
    """Make the modules below those of a package that Cosmos has, where one module here holds the names of several.

    They are found when they are imported, and import nothing before a name is asked for. A type checker does not see
    them.

    :param package: its ``__name__``.
    """
    _, _, beginning = f"{package}.".partition(".")
    for path, names in COSMOS_NAMES.items():
        home, _, _ = path.rpartition(".")
        if not home.startswith(beginning):
            continue
        module = ModuleType(f"cosmos_venv.{path}", f"Cosmos's import path of names in ``cosmos_venv.{home}``.")
        hooks: dict[str, Any] = {
            "__all__": sorted(names),
            "__dir__": lambda names=names: sorted(names),
            "__getattr__": name_lookup(module.__name__, {name: f"cosmos_venv.{home}:{name}" for name in names}),
        }
        vars(module).update(hooks)
        sys.modules[module.__name__] = module
