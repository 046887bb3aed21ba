"""The models that one query cannot build, each with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.bigquery.refusals import why_no_single_query

SQL = Path("models/orders.sql")


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({}, id="a-view-by-default"),
        pytest.param({"materialized": "table", "pre-hook": [], "post-hook": [], "grants": {}}, id="nothing-said"),
        pytest.param({"materialized": "view", "contract": {"enforced": False}}, id="a-contract-that-is-off"),
        pytest.param({"materialized": "table", "persist_docs": {"relation": True}}, id="docs-of-the-table"),
        pytest.param({"materialized": "table", "partition_by": {"field": "day"}}, id="by-day"),
        pytest.param({"materialized": "table", "enable_change_history": True}, id="a-history"),
        pytest.param({"materialized": "table", "table_format": "default"}, id="the-default-format"),
    ],
)
def test_a_table_or_view_is_one_query(config: dict[str, Any]) -> None:
    assert why_no_single_query(config, SQL) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"materialized": "incremental"}, "it is materialized as incremental"),
        ({"materialized": "materialized_view"}, "it is materialized as materialized_view"),
        ({"pre-hook": [{"sql": "select 1"}]}, "it has a pre-hook"),
        ({"post_hook": "select 1"}, "it has a post-hook"),
        ({"contract": {"enforced": True}}, "its contract is enforced"),
        ({"grants": {"roles/viewer": ["a"]}}, "it has grants"),
        ({"grant_access_to": [{"dataset": "d"}]}, "it has grant_access_to"),
        (
            {"materialized": "view", "enable_change_history": True},
            "it is a view with enable_change_history, which dbt refuses too",
        ),
        ({"persist_docs": {"columns": True}}, "its persist_docs has columns"),
        ({"table_format": "iceberg"}, "it has a catalog_name or table_format of its own"),
        ({"catalog_name": "lake"}, "it has a catalog_name or table_format of its own"),
        ({"partition_by": "day"}, "its partition_by='day' is no mapping with a field"),
        (
            {"partition_by": {"field": "d", "time_ingestion_partitioning": True}},
            "its partition_by has time_ingestion_partitioning",
        ),
        (
            {"partition_by": {"field": "id", "data_type": "int64", "range": {"start": 0}}},
            "its partition_by of int64 has no range of start, end and interval",
        ),
        ({"partition_by": {"field": "id", "data_type": "STRING"}}, "its partition_by has data_type string"),
    ],
)
def test_what_needs_more_is_refused_with_its_reason(config: dict[str, Any], reason: str) -> None:
    assert why_no_single_query({"materialized": "table", **config}, SQL) == reason


def test_a_python_model_is_no_query() -> None:
    assert why_no_single_query({"materialized": "table"}, Path("models/orders.py")) == "it is a Python model"
