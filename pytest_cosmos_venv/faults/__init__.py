"""Faults that a test asks for by a mark or a fixture, each made to happen for real while the test runs a DAG."""

from __future__ import annotations

from pytest_cosmos_venv.faults.kinds import (
    Fault,
    dbt_hangs,
    dbt_killed,
    disk_full,
    index_down,
    lock_left_behind,
    pod_killed,
    warehouse_down,
    warehouse_drops_connection,
    worker_killed,
)

__all__ = [
    "Fault",
    "dbt_hangs",
    "dbt_killed",
    "disk_full",
    "index_down",
    "lock_left_behind",
    "pod_killed",
    "warehouse_down",
    "warehouse_drops_connection",
    "worker_killed",
]
