"""The dbt projects of the scenarios."""

from __future__ import annotations

from datetime import datetime, timezone

from pytest_cosmos_venv import CosmosProject, DbtProject

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
FRESHNESS = {"warn_after": {"count": 1, "period": "day"}, "error_after": {"count": 2, "period": "day"}}


def make_harbor(projects: CosmosProject) -> DbtProject:
    """Make the project of most scenarios: each kind of node, two folders, tags, tests of one and of two nodes."""
    project = projects("harbor", variables={"port": "north"})
    project.seed("piers", "id,name\n1,North\n2,South\n", tests={"id": ["unique"]})
    project.source(
        "raw",
        tables={"ships": {"id": ["unique"]}, "crew": {}},
        schema="main",
        freshness=FRESHNESS,
        loaded_at_field="loaded_at",
    )
    project.source("plain", tables=["tides"], schema="main")
    project.model(
        "staging/stg_piers",
        "select * from {{ ref('piers') }}",
        tests={"id": ["unique", "not_null"]},
        materialized="view",
        tags=["daily"],
        description="The piers.",
    )
    project.model("staging/stg_ships", "select * from {{ source('raw', 'ships') }}", tags=["daily", "hourly"])
    project.model("staging/eph_tides", "select * from {{ source('plain', 'tides') }}", materialized="ephemeral")
    relationship = {"relationships": {"to": "ref('stg_piers')", "field": "id"}}
    project.model(
        "marts/fct_crossings",
        "select * from {{ ref('stg_piers') }} join {{ ref('stg_ships') }} join {{ ref('eph_tides') }}",
        tests={"id": [relationship]},
        materialized="table",
        tags=["nightly"],
    )
    project.model("marts/report", "select * from {{ ref('fct_crossings') }}", meta={"owner": "navigation"})
    project.write(
        "snapshots/piers_history.sql",
        "{% snapshot piers_history %}\nselect * from {{ ref('stg_piers') }}\n{% endsnapshot %}\n",
    )
    project.write(
        "snapshots/piers_history.yml",
        "snapshots: [{name: piers_history, config: {unique_key: id, strategy: check, check_cols: all}}]\n",
    )
    project.test("no_crossing_is_lost", "select 1 from {{ ref('fct_crossings') }} where false")
    project.write(
        "models/_board__exposure.yml",
        "exposures: [{name: board, type: dashboard, owner: {name: Owner}, depends_on: [ref('report')]}]\n",
    )
    return project
