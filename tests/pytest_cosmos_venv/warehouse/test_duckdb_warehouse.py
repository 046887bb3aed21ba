"""A real dbt builds a project of another database in the DuckDB file of a test, from rows that the test gives."""

from __future__ import annotations

import shutil
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosDuckDB
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.warehouse.dbt_result import DbtFailed
from tests.installed import ROOT, needs_dbt_wheels
from tests.kit import texts_below

pytestmark = [pytest.mark.long, needs_dbt_wheels]

NOON = datetime.fromisoformat("2026-01-01T12:00:00")
ROWS = [
    {"ship": "Ada", "port": "N", "arrived_at": NOON, "cargo_t": 1.5},
    {"ship": "Bea", "port": "N", "arrived_at": NOON, "cargo_t": 2},
    {"ship": "Cid", "port": "S", "arrived_at": NOON, "cargo_t": None},
]


def test_models_are_built_from_the_rows_of_a_source(cosmos_duckdb: CosmosDuckDB, fleet: Path) -> None:
    before = texts_below(fleet)
    warehouse = cosmos_duckdb(fleet, sources={"raw.arrivals": ROWS})

    result = warehouse.build("+by_port")

    assert warehouse.rows("by_port") == [
        {"name": "North", "arrivals": 2, "cargo_t": Decimal("3.50")},
        {"name": "South", "arrivals": 1, "cargo_t": None},
    ]
    assert warehouse.columns("by_port") == {"name": "VARCHAR", "arrivals": "BIGINT", "cargo_t": "DECIMAL(38,2)"}
    assert result.states == {"arrivals": "success", "ports": "success", "by_port": "success"}
    assert result.tests == {"not_null_arrivals_ship": "pass"}
    assert [row["arrived_at"] for row in warehouse.rows("arrivals")] == [NOON] * 3
    assert texts_below(fleet) == before


def test_packages_are_installed_beside_a_project_and_nothing_is_written_into_it(
    cosmos_duckdb: CosmosDuckDB, own_fleet: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "tests" / "data" / "tides", tmp_path / "tides")
    (own_fleet / "packages.yml").write_text("packages:\n  - local: ../tides\n", encoding="utf-8")
    half = """select {{ tides.hours_between("timestamp '2026-01-01'", "timestamp '2026-01-01 12:00'") }} as hours"""
    (own_fleet / "models" / "half.sql").write_text(half, encoding="utf-8")
    before = {each: texts_below(each) for each in (own_fleet, tmp_path / "tides")}
    warehouse = cosmos_duckdb(own_fleet)

    warehouse.build("half")
    warehouse.run_dbt("deps")
    warehouse.run_dbt("debug")

    assert [row["hours"] for row in warehouse.rows("half")] == [12]
    assert {each: texts_below(each) for each in before} == before
    assert not (own_fleet / "logs").exists()


def test_packages_that_are_no_longer_listed_are_gone(cosmos_duckdb: CosmosDuckDB, own_fleet: Path) -> None:
    for name in ("one", "two"):
        package = own_fleet.parent / name
        (package / "models").mkdir(parents=True)
        (package / "dbt_project.yml").write_text(f"name: {name}\nversion: '1.0'\n", encoding="utf-8")
        (package / "models" / f"of_{name}.sql").write_text("select 1 as id", encoding="utf-8")
    packages = own_fleet / "packages.yml"
    warehouse = cosmos_duckdb(own_fleet)

    for name in ("one", "two"):
        packages.write_text(f"packages:\n  - local: ../{name}\n", encoding="utf-8")
        assert warehouse.build(f"package:{name}").states == {f"of_{name}": "success"}
    assert "model.one.of_one" not in warehouse.manifest["nodes"]


def test_the_file_of_a_test_is_its_own_though_the_place_of_dbt_is_kept(
    cosmos_duckdb: CosmosDuckDB, fleet: Path
) -> None:
    first = cosmos_duckdb(fleet, sources={"raw.arrivals": ROWS[:1]})
    first.build("+by_port")
    cosmos_duckdb.close()
    parsed = (first.place / "target" / "partial_parse.msgpack").stat().st_mtime_ns

    second = cosmos_duckdb(fleet, sources={"raw.arrivals": ROWS[1:]})

    with pytest.raises(ToolkitMisuse, match="by_port does not exist"):
        second.rows("by_port")
    assert second.runs == []  # what was parsed is still true
    assert second.build("+by_port").states["by_port"] == "success"
    assert [row["arrivals"] for row in second.rows("by_port")] == [1, 1]
    assert second.place == first.place
    assert second.path != first.path
    assert "Unable to do partial parsing" not in second.runs[-1].log
    assert parsed > 0


def test_files_and_models_are_given_like_sources(cosmos_duckdb: CosmosDuckDB, fleet: Path, tmp_path: Path) -> None:
    file = tmp_path / "arrivals.csv"
    file.write_text("ship,port,arrived_at,cargo_t\n007,N,2026-01-01T12:00:00,1.25\n", encoding="utf-8")
    warehouse = cosmos_duckdb(fleet, sources={"raw.arrivals": file})
    warehouse.build("arrivals")
    warehouse.query(f"copy (select 'X' as code, 'Xanadu' as name) to '{tmp_path / 'ports.parquet'}'")

    warehouse.give("ports", tmp_path / "ports.parquet")
    warehouse.give("arrivals", [{"ship": "Ada", "port": "X", "cargo_t": Decimal(7)}])
    warehouse.build("by_port")

    assert warehouse.rows("raw.arrivals") == [
        {"ship": "007", "port": "N", "arrived_at": NOON, "cargo_t": Decimal("1.25")}
    ]
    assert warehouse.rows("by_port") == [{"name": "Xanadu", "arrivals": 1, "cargo_t": Decimal(7)}]


def test_a_failed_test_fails_in_dbts_own_words(cosmos_duckdb: CosmosDuckDB, fleet: Path) -> None:
    warehouse = cosmos_duckdb(fleet, sources={"raw.arrivals": [{**ROWS[0], "ship": None}]})

    with pytest.raises(
        DbtFailed, match=r"not_null_arrivals_ship\.\w+: fail\n +Got 1 result, configured to fail if != 0"
    ):
        warehouse.build("+by_port")
    unchecked = warehouse.build("+by_port", check=False)

    assert unchecked.tests == {"not_null_arrivals_ship": "fail"}
    assert unchecked.states["by_port"] == "skipped"
    assert not unchecked.succeeded


def test_sql_of_another_database_is_told_with_the_way_out(cosmos_duckdb: CosmosDuckDB, fleet: Path) -> None:
    with pytest.raises(DbtFailed, match=r"(?s)pg_backend_of_nobody.*DuckDB does not understand.*adapter\.dispatch"):
        cosmos_duckdb(fleet).build("elsewhere")


def test_dbt_sees_variables_and_target_of_the_test(cosmos_duckdb: CosmosDuckDB, own_fleet: Path) -> None:
    (own_fleet / "models" / "seen.sql").write_text(
        "select '{{ var('port') }}' as port, '{{ target.name }}' as target, '{{ env_var('PILOT') }}' as pilot"
    )
    warehouse = cosmos_duckdb(
        own_fleet, target="prod", schema="harbor", variables={"port": "N"}, environment={"PILOT": "Ada"}
    )

    warehouse.build("seen")

    assert warehouse.query("select * from harbor.seen") == [{"port": "N", "target": "prod", "pilot": "Ada"}]


def test_a_source_stands_where_the_environment_says_now(
    cosmos_duckdb: CosmosDuckDB, own_fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest of the test before is true of the same files with another environment no longer."""
    schema = own_fleet / "models" / "schema.yml"
    text = schema.read_text(encoding="utf-8").replace("schema: landing", "schema: \"{{ env_var('LANDING') }}\"")
    schema.write_text(text, encoding="utf-8")
    for place in ("north", "south"):
        monkeypatch.setenv("LANDING", place)
        warehouse = cosmos_duckdb(own_fleet, sources={"raw.arrivals": ROWS})

        assert warehouse.build("arrivals").succeeded
        assert len(warehouse.query(f"from lake.{place}.arrivals")) == len(ROWS)
        cosmos_duckdb.close()


MISUSES: dict[str, tuple[Any, str]] = {
    "no project": (lambda make, fleet: make(fleet / "models"), "is no dbt project: there is no .*dbt_project.yml"),
    "an own setting": (lambda make, fleet: make(fleet, settings={"path": "x"}), "settings: path cannot be set there"),
    "no such source": (
        lambda make, fleet: make(fleet, sources={"raw.arrival": ROWS}),
        r"'raw\.arrival' is no source and no node of the project fleet\. There is raw\.arrivals",
    ),
    "rows that differ": (
        lambda make, fleet: make(fleet, sources={"raw.arrivals": [{"ship": "A"}, {"port": "B"}]}),
        "row 1 has the columns port, and row 0 has ship",
    ),
    "SQL that is none": (lambda make, fleet: make(fleet).query("selekt 1"), "DuckDB refuses 'selekt 1': Parser Error"),
}


def test_each_misuse_is_told(cosmos_duckdb: CosmosDuckDB, fleet: Path) -> None:
    for use, words in MISUSES.values():
        with pytest.raises(ToolkitMisuse, match=words):
            use(cosmos_duckdb, fleet)
