"""What a release of dbt does with other databases, installers and projects than those of the table on DuckDB."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from textwrap import dedent, indent

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from tests.engines import EACH_ENGINE, ENGINES, OLD_ENGINES, Engine
from tests.harbor import WORKS, Harbor, cells, forget_other_dbt, make_harbor
from tests.installed import IS_CI, copy_of_example
from tests.postgres import IS_MISSING, Postgres

ON_POSTGRES = """
models:
  - name: fleet
    columns: [{name: seats, data_tests: [not_null]}]
unit_tests:
  - name: seats_are_added
    model: fleet
    given:
      - input: ref('stg_vessels')
        rows: [{seats: 2}, {seats: 3}]
    expect: {rows: [{seats: 5}]}
"""

needs_postgres = pytest.mark.skipif(IS_MISSING and not IS_CI, reason="no PostgreSQL in .cache/envs: make test makes it")
pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]


def make_harbor_on_postgres(engine: Engine, folder: Path, schema: str) -> Harbor:
    """What of the project needs no file beside the database: seeds, a snapshot, models, a test and a unit test."""
    mapping = PostgresUserPasswordProfileMapping("warehouse", {"schema": schema})
    harbor = Harbor(engine=engine, folder=folder, profile=ProfileConfig("harbor", "dev", profile_mapping=mapping))
    copy_of_example(harbor.project, "marts", "landing", "tests")
    staging = harbor.project / "models" / "staging"
    for name in ("_ticketing.yml", "_staging.yml", "stg_crossings.sql"):
        (staging / name).unlink()
    (staging / "fleet.sql").write_text("select sum(seats) as seats from {{ ref('stg_vessels') }}\n")
    (staging / "fleet.yml").write_text(ON_POSTGRES)
    forget_other_dbt(harbor.project)
    return harbor


@needs_postgres
@pytest.mark.parametrize("engine", EACH_ENGINE)
def test_the_cell_of_postgres_is_what_happens(
    engine: Engine, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.require()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.connection)
    schema = f"of_dbt_{engine.name.replace('.', '_')}"
    harbor = make_harbor_on_postgres(engine, tmp_path, schema)
    if engine.is_native:
        with pytest.raises(AirflowException) as failure:
            harbor.execute("Build")
        said = re.search(r"The 'postgres' adapter is not yet supported by dbt Fusion", str(failure.value))
        assert said
        seen = f"not in dbt 2, the task fails: `{said.group()}`"
    else:
        requirements = [*engine.requirements, "dbt-postgres"]
        harbor.execute("Build", py_requirements=requirements)
        assert postgres.rows(f"table {schema}.fleet") == [["636"]]
        assert len(postgres.rows(f"table {schema}.vessels_history")) == 4
        seen = WORKS

    assert cells("on PostgreSQL")["`build`"][f"dbt {engine.name}"] == seen


def test_dbt_1_12_runs_without_the_parser_that_downloads_while_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (engine,) = (each for each in ENGINES if each.name == "1.12")
    engine.require()
    (tmp_path / "excluded.txt").write_text("dbt-core-experimental-parser\n")
    monkeypatch.setenv("UV_EXCLUDE", str(tmp_path / "excluded.txt"))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_INSTALLER", "uv")

    harbor = make_harbor(replace(engine, requirements=("dbt-core==1.12.0", "dbt-duckdb")), tmp_path)
    harbor.execute("Seed")

    assert harbor.rows("select count(*) from piers")[0][0] > 0
    assert not list(tmp_path.glob("environments/envs-v2/*/lib/*/site-packages/dbt_core_experimental_parser*"))


def older(text: str) -> str:
    """A YAML file of the project as releases before 1.8 take it."""
    text = re.sub(r"flags:\n(  .*\n)+", "", text.replace("data_tests:", "tests:"))
    text = re.sub(r"arguments:\n\s+(values: .*)", r"\1", text)
    return re.sub(r"    config:\n((?:      .*\n)+)", lambda block: indent(dedent(block[1]), "    "), text)


@pytest.mark.parametrize(
    "engine",
    [pytest.param(engine, id=engine.name) for engine in OLD_ENGINES],
)
def test_a_release_that_the_seed_documents_name_builds_the_project(engine: Engine, tmp_path: Path) -> None:
    """Without what came later: unit tests (1.8) and snapshots in YAML (1.9)."""
    engine.require()
    harbor = make_harbor(engine, tmp_path)
    (harbor.project / "models" / "more.yml").unlink()
    shutil.rmtree(harbor.project / "snapshots")
    for file in harbor.project.rglob("*.yml"):
        file.write_text(older(file.read_text()))

    harbor.execute("Build", exclude="broken tight loose")

    assert harbor.rows("select count(*) from fct_crossings")[0][0] > 0
