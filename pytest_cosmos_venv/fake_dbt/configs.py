"""dbt's configurations of nodes, and the names that it gives to generic tests.

The module has only the defaults that a selection or a reader of nodes uses. A generic test is named after its
arguments, and its unique id ends with a hash of all its arguments.
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
CONFIGURATIONS = frozenset(
    """
    access alias batch_size begin check_cols column_types concurrent_batches contract database delimiter docs enabled
    event_time freshness full_refresh grants group incremental_strategy lookback materialized meta
    on_configuration_change on_schema_change packages persist_docs post-hook pre-hook quote_columns quoting schema
    strategy tags target_database target_schema unique_key updated_at
    """.split()
)
"""The names of dbt's configurations of models, seeds and snapshots. Adapters have more."""
OF_TESTS = frozenset(
    """
    alias database enabled error_if fail_calc group limit materialized meta schema severity store_failures
    store_failures_as tags warn_if where
    """.split()
)
"""The names of dbt's configurations of data tests."""
_APPENDED = ("packages", "post-hook", "pre-hook", "tags")


def node_config(kind: str) -> dict[str, Any]:
    """Return the default configuration of a node, a new dictionary for each caller.

    :param kind: ``model``, ``seed``, ``snapshot`` or ``analysis``.
    """
    materialized = {"seed": "seed", "snapshot": "snapshot"}.get(kind, "view")
    return {**_common_config(materialized), **({"access": "protected"} if kind == "model" else {})}


def test_config() -> dict[str, Any]:
    """Return the default configuration of a data test, a new dictionary for each caller."""
    return {**_common_config("test"), "schema": "dbt_test__audit", "severity": "ERROR"}


def _common_config(materialized: str) -> dict[str, Any]:
    unsaid = dict.fromkeys(("alias", "database", "schema", "group"))
    return {**unsaid, "enabled": True, "materialized": materialized, "meta": {}, "tags": []}


def merged_config(config: Mapping[str, Any], nearer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, overridden by a more specific one as in dbt: some keys add up, others are replaced.

    :param config: the less specific configuration.
    :param nearer: the more specific configuration.
    """
    merged = {**config, **nearer}
    for key in _APPENDED & nearer.keys():
        values = nearer[key]
        merged[key] = [*config.get(key, []), *(values if isinstance(values, (list, tuple)) else [values])]
    for key in _UPDATED & nearer.keys():
        merged[key] = {**(config.get(key) or {}), **(nearer[key] or {})}
    return merged


def synthesized_names(identifier: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Return the short name (file, alias) and the full name (unique id) of a test without a name.

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
