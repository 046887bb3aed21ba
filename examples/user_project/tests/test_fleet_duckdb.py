"""The dbt project with a real dbt, on rows of a test. The first run installs dbt and DuckDB; later ones find them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "dbt" / "fleet"


def test_a_ship_is_late_when_it_comes_after_its_plan(cosmos_duckdb):
    warehouse = cosmos_duckdb(PROJECT, sources={"harbour.arrivals": Path(__file__).with_name("arrivals.csv")})

    warehouse.build()

    assert warehouse.rows("late_ships") == [{"ship": "Ada", "port": "Hamburg", "days_late": 2}]


def test_a_ship_whose_port_is_unknown_is_not_counted(cosmos_duckdb):
    late = {"ship": "Ada", "port": "XXX", "planned": date(2026, 1, 2), "actual": date(2026, 1, 4)}
    warehouse = cosmos_duckdb(PROJECT)
    warehouse.give("arrivals", [late])

    warehouse.build("ports late_ships")

    assert warehouse.rows("late_ships") == []
