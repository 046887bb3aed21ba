"""The manifest that is written without dbt has the nodes, facts and edges of dbt's own, and dbt itself reads it.

One project with all that the builder knows; the real dbt, once for each version, parses it and reads our manifest.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_cosmos_venv import DbtProject
from pytest_cosmos_venv.projects.projects import CosmosProject
from tests.dbt_packages import add_package
from tests.pytest_cosmos_venv.inner_run import python_of

pytestmark = pytest.mark.long

DEADLINE = 120.0

# What the real dbt is asked in one process: to parse, and to read our manifest as its own.
QUESTIONS = """
import json, sys
from dbt.artifacts.schemas.manifest import WritableManifest
from dbt.cli.main import dbtRunner

state, answer = sys.argv[1:]
parsed = dbtRunner().invoke(["--quiet", "parse"])
if not parsed.success:
    sys.exit(str(parsed.exception))
ours = WritableManifest.read_and_check_versions(state + "/manifest.json")
with open(answer, "w") as file:
    json.dump({
        "nodes": sorted(ours.nodes),
        "schema": WritableManifest.json_schema(),
    }, file)
"""

FACTS = (
    *("name", "resource_type", "package_name", "original_file_path", "path", "unique_id", "fqn", "tags", "description"),
    *("alias", "database", "schema", "identifier", "relation_name", "group", "access", "version", "latest_version"),
    *("source_name", "freshness", "loaded_at_field", "patch_path", "column_name", "attached_node", "test_metadata"),
)
"""What readers of a manifest ask for; a node has some of them."""
# Tests that read a disabled model: dbt keeps them among the nodes, with enabled=False, and lists them nowhere.
OFF = {"test.harbor.of_what_is_off", "test.harbor.unique_switched_off_id.fa7a4bab89"}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The two manifests of one project, and dbt's answer about ours."""

    project: DbtProject
    ours: Mapping[str, Any]
    dbts: Mapping[str, Any]
    answer: Mapping[str, Any]


SETTINGS = """
models:
  harbor:
    +tags: [all]
    staging: {+materialized: view, +tags: [daily], +meta: {layer: staging}}
seeds: {harbor: {+schema: raw}}
"""
MACROS = """
{% macro cents(column) %}{{ round_to(column) }} * 100{% endmacro %}
{% macro round_to(column) %}round({{ column }}){% endmacro %}
{% test positive(model, column_name, floor=0) %}
select * from {{ model }} where {{ column_name }} < {{ floor }}{% endtest %}
"""
YAML = """
models:
  - name: dim
    config: {tags: [dim]}
    latest_version: 2
    versions: [{v: 1}, {v: 2}]
    columns: [{name: id, data_tests: [unique, {positive: {}}]}]
  - {name: pinned, latest_version: 3, versions: [{v: 3}, {v: 10}]}
snapshots:
  - name: piers_then
    config: {unique_key: id, strategy: check, check_cols: all, target_schema: history}
    columns: [{name: id, data_tests: [not_null]}]
  - {name: ships_then, config: {unique_key: [id, name], strategy: timestamp, updated_at: at, tags: [history]}}
groups: [{name: port, owner: {name: Port Authority}}]
exposures:
  - name: board
    type: dashboard
    owner: {name: Port}
    url: http://b
    depends_on: [ref('fct_crossings'), "source('raw', 'ships')"]
unit_tests:
  - name: adds_up
    model: fct_crossings
    config: {tags: [fast]}
    given:
      - {input: ref('stg_piers'), rows: [{id: 1}]}
      - {input: ref('stg_ships'), rows: [{id: 1}]}
      - {input: "ref('tides', 'high_water')", rows: [{id: 3}]}
    expect: {rows: [{id: 1}]}
"""
SNAPSHOT = "{{% snapshot {name} %}}\n{sql}\n{{% endsnapshot %}}\n"


def everything(folder: Path) -> DbtProject:
    project = CosmosProject(folder=folder)("harbor", variables={"region": "north"})
    with (project.path / "dbt_project.yml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    project.write("macros/money.sql", MACROS)
    tides = add_package(project, "tides")
    with (tides.path / "dbt_project.yml").open("a", encoding="utf-8") as file:
        file.write("vars: {unit: m}\n")
    tides.write("macros/levels.sql", "{% macro level(column) %}{{ column }}{% endmacro %}")
    tides.seed("gauges", "id,level\n1,2.5\n", tests={"id": ["unique"]})
    tides.model("hourly/high_water", "select {{ level('id') }} as id from {{ ref('gauges') }} -- {{ var('unit') }}")
    tides.model("shared", "select 1 as id", materialized="table")
    _add_nodes(project)
    _add_the_rest(project)
    return project


def _add_nodes(project: DbtProject) -> None:
    project.seed("piers", "id,name\r\n1,North\r\n", tags=["csv"], tests={"id": ["unique", {"positive": {"floor": 1}}]})
    project.seed("berths/places", "id\n1\n", alias="place_list", delimiter=",")
    project.model(
        "staging/stg_piers",
        "select id, name from {{ ref('piers') }}\n",
        description="Piers as they come.",
        tests={
            "id": [
                "unique",
                "not_null",
                {"accepted_values": {"values": list(range(20))}},
                {"accepted_values": {"values": ["a", "b c"], "quote": False, "config": {"severity": "warn"}}},
                {"relationships": {"to": "ref('piers')", "field": "id"}},
                {"unique": {"name": "my_own_name"}},
                {"positive": {"floor": 2, "config": {"where": 'id > "1"', "tags": ["slow"], "meta": {"a": 1}}}},
            ],
            None: [{"positive": {"column_name": "id"}}],
            "name": ["not_null"],
        },
    )
    project.model(
        "staging/stg_ships",
        "{% if is_incremental() %}select 1{% endif %}\nselect * from {{ source('raw', 'ships') }}\n"
        "-- {{ var('region') }} {{ target.schema }} {{ this }} {{ dbt.current_timestamp() }}\n",
        materialized="incremental",
        unique_key="id",
    )
    project.model(
        "marts/core/fct_crossings",
        "{{ config(materialized='table', tags=['nightly'], meta={'owner': 'me'}, schema='marts') }}\n"
        "{% set parts = ['stg_piers', 'stg_ships'] %}"
        "{% for part in parts %}select {{ cents('id') }} from {{ ref(part) }}{% endfor %}\n"
        "union select {{ tides.level('id') }} from {{ ref('tides', 'high_water') }} join {{ ref('stg_piers') }}\n"
        "{# {{ ref('not_there') }} #}{% if execute %}{{ ref('not_there') }}{% endif %}\n",
        group="port",
        access="public",
        meta={"layer": "marts"},
    )
    project.write("models/marts/more.yml", YAML)
    project.write("models/marts/dim_v1.sql", "select 1 as id")
    project.write("models/marts/dim_v2.sql", "select 2 as id from {{ ref('shared') }}")
    project.write("models/marts/pinned_v3.sql", "select 3 as id")
    project.write("models/marts/pinned_v10.sql", "select 4")
    project.model(
        "marts/uses",
        "select * from {{ ref('dim', v=1) }} join {{ ref('dim') }} on 1 = 1 join {{ ref('pinned', version=10) }}"
        " join {{ ref('pinned') }} join {{ ref('helper') }}",
    )
    project.model("marts/helper", "select 1 as id", materialized="ephemeral")
    project.model(
        "switched_off", "{{ config(enabled=false) }}select * from {{ ref('nothing') }}", tests={"id": ["unique"]}
    )
    project.write(
        "models/staging/in_python.py",
        'def model(dbt, session):\n    dbt.config(materialized="table", tags=["python"])\n'
        '    ships = dbt.source("raw", "ships")\n    return dbt.ref("stg_piers")\n',
    )
    project.model(
        "marts/twice", "select * from {{ ref('dim') }} join {{ ref('dim') }} join {{ source('raw', 'ships') }}"
    )
    sql = "select * from {{ ref('piers') }}"
    project.write("snapshots/piers_then.sql", SNAPSHOT.format(name="piers_then", sql=sql))
    sql = "select * from {{ source('raw', 'ships') }}"
    project.write("snapshots/old/ships_then.sql", SNAPSHOT.format(name="ships_then", sql=sql))


def _add_the_rest(project: DbtProject) -> None:
    project.source(
        "raw",
        tables={"ships": {"id": ["unique", {"positive": {}}]}, "captains": {}},
        tags=["source"],
        meta={"owner": "port"},
        freshness={"warn_after": {"count": 12, "period": "hour"}},
        loaded_at_field="at",
    )
    project.source("lake", tables=["weather"], schema="lake_v2")
    project.test("marts/no_empty", "select * from {{ ref('fct_crossings') }} where id is null")
    project.test("of_what_is_off", "select * from {{ ref('switched_off') }} join {{ ref('stg_piers') }}")
    project.test(
        "no_ghost_ships", "{{ config(severity='warn', tags=['x']) }}select * from {{ source('raw', 'ships') }}"
    )
    project.write("analyses/look.sql", "select * from {{ ref('fct_crossings') }}")


@pytest.fixture(scope="module", params=["dbt110", "dbt111"])
def comparison(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The one run of a real dbt."""
    python = python_of(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    project = everything(folder)
    state = project.manifest(folder / "state" / "manifest.json").parent
    done = subprocess.run(
        [str(python), "-c", QUESTIONS, str(state), str(folder / "answer.json")],
        cwd=project.path,
        env={**os.environ, "DBT_PROFILES_DIR": str(project.path), "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Comparison(
        project=project,
        ours=project.manifest_data(),
        dbts=json.loads((project.path / "target" / "manifest.json").read_text(encoding="utf-8")),
        answer=json.loads((folder / "answer.json").read_text(encoding="utf-8")),
    )


def test_entries_and_edges_are_those_of_dbt(comparison: Comparison) -> None:
    for section in ("nodes", "sources", "exposures", "unit_tests"):
        ours, all_of_dbt = comparison.ours[section], comparison.dbts[section]
        dbts = {name: entry for name, entry in all_of_dbt.items() if entry["config"].get("enabled", True)}
        assert all_of_dbt.keys() - dbts.keys() == (OFF if section == "nodes" else set())
        assert sorted(ours) == sorted(dbts)
        assert len(dbts) > 0
        for name, entry in dbts.items():
            assert facts(ours[name], entry) == facts(entry, ours[name]), name
    for section in ("parent_map", "child_map"):
        edges = {name: sorted({*each} - OFF) for name, each in comparison.dbts[section].items() if name not in OFF}
        assert {name: each for name, each in edges.items() if not name.startswith("group.")} == comparison.ours[section]


def test_dbt_reads_the_manifest_as_one_of_its_own(comparison: Comparison) -> None:
    ours, dbts = comparison.ours["metadata"], comparison.dbts["metadata"]

    assert comparison.answer["nodes"] == sorted(comparison.ours["nodes"])
    jsonschema.Draft202012Validator(comparison.answer["schema"]).validate(comparison.ours)
    assert {name for name, value in ours.items() if value != dbts.get(name)} <= {
        "dbt_version",
        "generated_at",
        "invocation_id",
        "invocation_started_at",
    }


def facts(entry: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an entry: of configurations those that both have, of references the nodes, and all tags."""
    found: dict[str, Any] = {name: entry.get(name) or None for name in FACTS}
    nodes = (entry.get("depends_on") or {}).get("nodes")
    # dbt has dropped what is disabled from the references of a test.
    found |= {"depends_on": sorted(nodes or ()), "tags": sorted({*(entry.get("tags") or ())})}
    found["config"] = in_common(entry["config"], other["config"])
    if entry["resource_type"] in ("model", "seed"):
        found["checksum"] = entry["checksum"]
    return found


def in_common(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that another one has too, also those below them; a test may have a tag twice."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in other:
            is_both = isinstance(value, Mapping) and isinstance(other[key], Mapping)
            found[key] = in_common(value, other[key]) if is_both else value
            if key == "tags":
                found[key] = sorted({*value})
    return found
