"""What is in the wheel of a look-alike? dbt itself with its console script, an adapter, or an empty module."""

from __future__ import annotations

from dataclasses import replace

from pytest_cosmos_venv.environments.wheel import Wheel
from pytest_cosmos_venv.lookalike import lookalike_files

DBT_VERSION = "1.10.0"

ADAPTERS = (
    *("athena", "bigquery", "clickhouse", "databricks", "duckdb", "exasol", "mysql", "oracle", "postgres"),
    *("redshift", "snowflake", "spark", "sqlserver", "starrocks", "teradata", "trino", "vertica"),
)
"""The adapters that profiles can be made for from Airflow connections."""


def dbt_wheel(version: str) -> Wheel:
    """``dbt-core`` with a ``dbt`` that is scripted and recorded."""
    return Wheel(
        name="dbt-core",
        version=version,
        files={**lookalike_files(), "dbt/version.py": f'__version__ = "{version}"\n'},
        console_scripts={"dbt": "dbt.cli.main:cli"},
    )


def adapter_wheel(name: str, version: str, *requires: str) -> Wheel:
    """The adapter ``dbt-<name>``."""
    files = {f"dbt/adapters/{name}/__init__.py": f'"""Look-alike of the {name} adapter."""\n'}
    return Wheel(name=f"dbt-{name}", version=version, files=files, requires=requires)


def lookalike_wheel(name: str, version: str, requires: tuple[str, ...] | None = None) -> Wheel:
    """The look-alike of any distribution: ``dbt-core``, an adapter, or a package with an empty module.

    :param requires: None takes what the real one needs: an adapter needs dbt-core.
    """
    if name == "dbt-core":
        return replace(dbt_wheel(version), requires=requires or ())
    if name.startswith("dbt-"):
        return adapter_wheel(name[4:].replace("-", "_"), version, *(("dbt-core",) if requires is None else requires))
    return Wheel(name=name, version=version, files={f"{name.replace('-', '_')}.py": ""}, requires=requires or ())
