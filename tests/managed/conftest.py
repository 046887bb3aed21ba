"""The fixtures of operators' tests: what ``managed`` decides shows in a task."""

from __future__ import annotations

from tests.dbt.warm.conftest import short_folder
from tests.operators.conftest import dbt_calls, dbt_processes, make_operator, misbehaving_wheelhouse

__all__ = ["dbt_calls", "dbt_processes", "make_operator", "misbehaving_wheelhouse", "short_folder"]
