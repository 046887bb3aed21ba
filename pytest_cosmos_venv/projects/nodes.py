"""How does a node of the manifest look? As dbt 1.10 and 1.11 write it, without what only dbt can know."""

from __future__ import annotations

from typing import Any

CREATED_AT = 0.0
"""The time in every node: none, so that equal projects have equal manifests."""


def node_config(kind: str) -> dict[str, Any]:
    """The configuration of a node about which nothing was said. A new one each time: it ends in the caller's hands."""
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
    """The same of a data test."""
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


def column(name: str) -> dict[str, Any]:
    """A column about which nothing is known but its name."""
    return {
        "name": name,
        "description": "",
        "meta": {},
        "data_type": None,
        "constraints": [],
        "quote": None,
        "config": {"meta": {}, "tags": []},
        "tags": [],
        "granularity": None,
        "doc_blocks": [],
    }


def common_fields() -> dict[str, Any]:
    """What every node of the section ``nodes`` has, and no project of ours says anything about."""
    return {
        "docs": {"show": True, "node_color": None},
        "build_path": None,
        "created_at": CREATED_AT,
        "doc_blocks": [],
    }


def code_fields() -> dict[str, Any]:
    """The same of a node with code: all but seeds."""
    return {
        "metrics": [],
        "compiled_path": None,
        "contract": {"enforced": False, "alias_types": True, "checksum": None},
    }


def model_fields() -> dict[str, Any]:
    """The same of a model."""
    return {
        "constraints": [],
        "version": None,
        "latest_version": None,
        "deprecation_date": None,
        "primary_key": [],
        "time_spine": None,
    }
