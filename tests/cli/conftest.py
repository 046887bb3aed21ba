"""A program of its own that is served warm, for what is said of servers; processes on hosts of their own."""

from __future__ import annotations

from tests.dbt.warm.conftest import short_folder, tool
from tests.environments.conftest import make_ready, make_spec, offline, output_of, set_age, start_python, wheelhouse
from tests.operators.conftest import dbt_calls, make_operator, misbehaving_wheelhouse
from tests.remote_settings import configure, key_file, remote

__all__ = [
    "configure",
    "dbt_calls",
    "key_file",
    "make_operator",
    "make_ready",
    "make_spec",
    "misbehaving_wheelhouse",
    "offline",
    "output_of",
    "remote",
    "set_age",
    "short_folder",
    "start_python",
    "tool",
    "wheelhouse",
]
