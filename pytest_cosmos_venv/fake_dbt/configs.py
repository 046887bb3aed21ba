"""dbt's configurations of nodes, with its defaults, and the names that it gives to generic tests.

A generic test is named after its arguments; its unique id ends with a hash of everything that the test was given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

# A relation's name has 63 characters on PostgreSQL.
_LONGEST = 63
_KEPT = 30
_HASH_LENGTH = 10
_UPDATED = ("column_types", "contract", "docs", "grants", "meta", "persist_docs", "quoting")
_APPENDED = ("packages", "post-hook", "pre-hook", "tags")


def node_config(kind: str) -> dict[str, Any]:
    """Return the configuration of a node about which nothing was said, a new one for each caller.

    :param kind: ``model``, ``seed``, ``snapshot`` or ``analysis``.
    """
    config: dict[str, Any] = {
        "enabled": True,
        "alias": None,
        "schema": None,
        "database": None,
        "tags": [],
        "meta": {},
        "group": None,
        "materialized": {"seed": "seed", "snapshot": "snapshot"}.get(kind, "view"),
        "incremental_strategy": None,
        "batch_size": None,
        "lookback": 1,
        "begin": None,
        "persist_docs": {},
        "post-hook": [],
        "pre-hook": [],
        "quoting": {},
        "column_types": {},
        "full_refresh": None,
        "unique_key": None,
        "on_schema_change": "ignore",
        "on_configuration_change": "apply",
        "grants": {},
        "packages": [],
        "docs": {"show": True, "node_color": None},
        "contract": {"enforced": False, "alias_types": True},
        "event_time": None,
        "concurrent_batches": None,
    }
    return {**config, **_own_config(kind)}


def _own_config(kind: str) -> dict[str, Any]:
    if kind == "model":
        return {"access": "protected", "freshness": None}
    if kind == "seed":
        return {"delimiter": ",", "quote_columns": None}
    if kind == "snapshot":
        columns = ("dbt_valid_to", "dbt_valid_from", "dbt_scd_id", "dbt_updated_at", "dbt_is_deleted")
        return {
            "strategy": None,
            "target_schema": None,
            "target_database": None,
            "updated_at": None,
            "check_cols": None,
            "snapshot_meta_column_names": dict.fromkeys(columns),
            "dbt_valid_to_current": None,
        }
    return {}


def test_config() -> dict[str, Any]:
    """Return the configuration of a data test about which nothing was said, a new one for each caller."""
    return {
        "enabled": True,
        "alias": None,
        "schema": "dbt_test__audit",
        "database": None,
        "tags": [],
        "meta": {},
        "group": None,
        "materialized": "test",
        "severity": "ERROR",
        "store_failures": None,
        "store_failures_as": None,
        "where": None,
        "limit": None,
        "fail_calc": "count(*)",
        "warn_if": "!= 0",
        "error_if": "!= 0",
    }


def merged_config(config: Mapping[str, Any], nearer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with a nearer one over it, as dbt does it: some keys add up, all others are replaced.

    :param config: the farther one.
    :param nearer: the nearer one.
    """
    merged = {**config, **nearer}
    for key in _APPENDED & nearer.keys():
        values = nearer[key]
        merged[key] = [*config.get(key, []), *(values if isinstance(values, (list, tuple)) else [values])]
    for key in _UPDATED & nearer.keys():
        merged[key] = {**(config.get(key) or {}), **(nearer[key] or {})}
    return merged


def synthesized_names(identifier: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Return the short name (file, alias) and the full name (unique id) of a test that was given none.

    :param identifier: test and tested thing: ``unique_stg_piers``.
    :param arguments: the arguments of the test with ``column_name``, without ``model``.
    """
    parts = [str(part) for name in sorted(arguments) for part in _parts(arguments[name])]
    full = "_".join([identifier, "__".join(re.sub("[^0-9a-zA-Z_]+", "_", part) for part in parts)])
    if len(full) <= _LONGEST:
        return full, full
    return f"{identifier[:_KEPT]}_{_md5(full)}", full


def id_hash(name: str, metadata: Mapping[str, Any]) -> str:
    """Return the end of a generic test's unique id.

    :param name: the name of the test.
    :param metadata: ``namespace``, ``name`` and ``kwargs``, as in the manifest.
    """
    return _md5(name + repr(_canonical(metadata)))[-_HASH_LENGTH:]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(value[key]) for key in sorted(value)}
    return [_canonical(one) for one in value] if isinstance(value, list) else str(value)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
