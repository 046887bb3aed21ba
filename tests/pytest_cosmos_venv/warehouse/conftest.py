"""A project for another database, with sources, and real dbts that install from the wheels of `make test`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import install_from_wheels
from tests.kit import written_manifest

PROJECT = {
    "dbt_project.yml": """
        name: fleet
        version: "1.0"
        config-version: 2
        profile: production
        model-paths: [models]
        seed-paths: [seeds]
    """,
    "seeds/ports.csv": "code,name\nN,North\nS,South\n",
    "models/schema.yml": """
        version: 2
        sources:
          - name: raw
            database: lake
            schema: landing
            tables:
              - name: arrivals
                columns:
                  - {name: ship, data_type: varchar}
                  - {name: port, data_type: varchar}
                  - {name: arrived_at, data_type: timestamp}
                  - {name: cargo_t, data_type: "decimal(10, 2)"}
        models:
          - name: arrivals
            columns:
              - {name: ship, data_tests: [not_null]}
    """,
    "models/arrivals.sql": "select ship, port, arrived_at, cargo_t from {{ source('raw', 'arrivals') }}",
    "models/by_port.sql": (
        "{{ config(materialized='table') }} select p.name, count(*) as arrivals, sum(a.cargo_t) as cargo_t "
        "from {{ ref('arrivals') }} a join {{ ref('ports') }} p on p.code = a.port group by 1"
    ),
    "models/elsewhere.sql": "{{ config(tags=['postgres']) }} select pg_backend_of_nobody(1) as a",
}


@pytest.fixture(scope="package")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project: a source in a database of its own, two models, a seed, a test, and a model for PostgreSQL alone.

    One for all tests: dbt parses it once. A test that changes it takes ``own_fleet``.
    """
    from textwrap import dedent

    folder = tmp_path_factory.mktemp("warehouse") / "fleet"
    for name, text in PROJECT.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
    written_manifest(folder)
    return folder


@pytest.fixture
def own_fleet(fleet: Path, tmp_path: Path) -> Path:
    """A copy of the project."""
    return Path(shutil.copytree(fleet, tmp_path / "fleet"))


@pytest.fixture(scope="package", autouse=True)
def wheels_only() -> Iterator[None]:
    """Install from the wheels that `make test` has fetched, also when pytest was started by itself."""
    with pytest.MonkeyPatch.context() as patch:
        install_from_wheels(patch)
        yield
