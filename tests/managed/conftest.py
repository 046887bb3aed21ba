"""The fixtures of operators' tests: what ``managed`` decides shows in a task."""

from __future__ import annotations

from tests.dbt.warm.conftest import short_folder
from tests.operators.conftest import dbt_calls, make_operator, misbehaving_wheelhouse
from tests.remote_settings import configure, key_file, remote

__all__ = [
    "configure",
    "dbt_calls",
    "key_file",
    "make_operator",
    "misbehaving_wheelhouse",
    "remote",
    "short_folder",
]
