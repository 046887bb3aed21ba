from __future__ import annotations

from typing import Any


def model(dbt: Any, _session: Any) -> Any:
    dbt.config(materialized="table")
    return dbt.ref("raw_orders").project("id, amount * 2 as amount")
