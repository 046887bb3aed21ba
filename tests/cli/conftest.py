"""A program of its own that is served warm, for what is said of servers; processes on hosts of their own."""

from __future__ import annotations

from tests.dbt.warm.conftest import short_folder, tool
from tests.environments.conftest import make_ready, set_age, start_python

__all__ = ["make_ready", "set_age", "short_folder", "start_python", "tool"]
