"""The scenarios: a table of plain functions, by subject. The name of a function is the name of its record."""

from __future__ import annotations

from collections.abc import Callable

from tests.replay.dags import failures, loading, local, managed, many_nodes, real_dbt, rendering
from tests.replay.recorder import Bench

SCENARIOS: dict[str, Callable[[Bench], None]] = {
    **real_dbt.SCENARIOS,
    **{
        scenario.__name__: scenario
        for module in (local, managed, many_nodes, rendering, loading, failures)
        for scenario in module.SCENARIOS
    },
}
"""Those with a real dbt come first: they take longest."""
