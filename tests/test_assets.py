"""The assets that come of dbt's artifacts and a profile, beside what OpenLineage's own dbt processor makes of them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.assets import ADAPTERS, Lineage, asset_uri, lineage, namespace
from cosmos_venv.dbt.project_files import profile_fields
from cosmos_venv.exceptions import CosmosValueError
from tests.installed import ENVIRONMENTS, is_missing

PYTHON = ENVIRONMENTS / "openlineage" / "bin" / "python"
DEADLINE = 120.0

# What each adapter's profile says of the place; more than one where OpenLineage tells them apart.
SERVER = {"host": "db.harbor.example", "port": 6000}
PROFILES: dict[str, dict[str, Any]] = {
    "athena": {"region_name": "eu-west-1", "assume_role_arn": "arn:aws:iam::12:role/dbt"},
    "bigquery": {"method": "oauth", "project": "harbor"},
    "clickhouse": SERVER,
    "databricks": {"host": "dbc-1.cloud.databricks.com", "http_path": "/sql/1"},
    "dremio": {"software_host": "dremio.example", "port": 9047},
    "duckdb": {"path": "/data/harbor.duckdb"},
    "fabric": {"server": "fabric.example"},
    "fabric with a port": {"type": "fabric", "server": "fabric.example", "port": 1433},
    "glue": {"region": "eu-west-1", "role_arn": "arn:aws:iam::123:role/dbt"},
    "glue with an account": {"type": "glue", "region": "eu-west-1", "account_id": "456", "role_arn": "x"},
    "postgres": {"host": "{{ env_var('HARBOR_HOST') }}", "port": "{{ env_var('HARBOR_PORT', '5433') | as_number }}"},
    "presto": SERVER,
    "redshift": SERVER,
    "snowflake": {"account": "xy12345"},
    "snowflake with a region": {"type": "snowflake", "account": "xy12345.eu-central-1"},
    "snowflake with a cloud": {"type": "snowflake", "account": "xy12345.east-us-2.azure"},
    "snowflake of an organization": {"type": "snowflake", "account": "harbor-prod.eu-central-1"},
    "spark": {"method": "thrift", "host": "spark.example", "port": 10002},
    "spark by thrift": {"type": "spark", "method": "thrift", "host": "spark.example"},
    "spark by http": {"type": "spark", "method": "http", "host": "spark.example"},
    "spark by odbc": {"type": "spark", "method": "odbc", "host": "spark.example"},
    "sqlserver": {"server": "sql.example", "port": 1434},
    "trino": SERVER,
    "watsonx_presto": SERVER,
}
ENVIRONMENT = {"HARBOR_HOST": "pg.harbor.example"}


def node(name: str, *parents: str, **entries: Any) -> dict[str, Any]:
    """An entry of a manifest as dbt writes it, as far as anybody reads it."""
    kind, package, *_, last = name.split(".")
    return {
        "unique_id": name,
        "resource_type": kind,
        "package_name": package,
        "name": last,
        "database": "harbor",
        "schema": "main",
        "alias": last,
        "depends_on": {"nodes": list(parents)},
        "columns": {},
        "description": "",
        "tags": [],
        "meta": {},
        "config": {"materialized": "table"},
        "compiled_code": None,
        **entries,
    }


MODEL, SNAPSHOT, SEED = "model.harbor.fleet", "snapshot.harbor.fleet_history", "seed.harbor.piers"
NODES = {
    each["unique_id"]: each
    for each in (
        node(SEED),
        node("model.harbor.staging", "source.harbor.raw.ships", schema=None, alias="Ships of 2026"),
        node(MODEL, "model.harbor.staging", "source.harbor.raw.ports", database=None),
        node(SNAPSHOT, MODEL),
        node("model.harbor.broken", MODEL),
        node("model.harbor.behind", "model.harbor.broken"),
        node("model.harbor.passing", SEED, config={"materialized": "ephemeral"}),
        node("test.harbor.unique", MODEL),
    )
}
SOURCES = {
    name: {**node(name), "alias": None, "source_name": "raw", "identifier": "elsewhere"}
    for name in ("source.harbor.raw.ships", "source.harbor.raw.ports")
}
LACKS_A_PARENT = json.dumps({"nodes": NODES, "sources": {}})
STATUSES = {
    SEED: "success",
    "model.harbor.staging": "success",
    MODEL: "success",
    SNAPSHOT: "success",
    "model.harbor.broken": "error",
    "model.harbor.behind": "skipped",
}


def manifest() -> str:
    parents = {name: each["depends_on"]["nodes"] for name, each in NODES.items()}
    schema = "https://schemas.getdbt.com/dbt/manifest/v12.json"
    return json.dumps(
        {"metadata": {"dbt_schema_version": schema}, "nodes": NODES, "sources": SOURCES, "parent_map": parents}
    )


def run_results(statuses: dict[str, str], **arguments: str) -> str:
    results = [
        {"unique_id": name, "status": status, "timing": [], "adapter_response": {}} for name, status in statuses.items()
    ]
    metadata = {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"}
    return json.dumps({"metadata": metadata, "results": results, "args": {"which": "run", **arguments}})


def test_what_succeeded_is_written_and_what_it_depends_on_is_read() -> None:
    found = lineage({**STATUSES, "model.harbor.renamed_since": "success"}, manifest())

    assert found == Lineage(
        inlets=("harbor.main.ships", "harbor.Ships of 2026", "harbor.main.ports", "main.fleet"),
        outlets=("harbor.main.piers", "harbor.Ships of 2026", "main.fleet", "harbor.main.fleet_history"),
    )


@pytest.mark.parametrize("status", ["error", "skipped", "fail", "runtime error", "partial success", "warn", "no-op"])
def test_a_node_that_has_not_succeeded_gives_nothing(status: str) -> None:
    assert lineage({MODEL: status}, manifest()) == Lineage()


def test_tests_give_nothing_and_models_without_a_relation_are_not_read() -> None:
    found = lineage({"test.harbor.unique": "success", MODEL: "success"}, manifest())
    read = node("model.harbor.late", "model.harbor.passing", "macro.harbor.x", "source.harbor.raw.ports")
    late = json.dumps({"nodes": {**NODES, "model.harbor.late": read}, "sources": SOURCES})

    assert found.outlets == ("main.fleet",)
    assert lineage({"model.harbor.late": "success"}, late).inlets == ("harbor.main.ports",)


@pytest.mark.parametrize(
    ("artifact", "words"),
    [
        pytest.param(LACKS_A_PARENT, "manifest.json has no source.harbor.raw.ports", id="lacks-what-a-node-reads"),
        pytest.param("[]", "Expected `object`", id="is-none"),
    ],
)
def test_a_manifest_that_does_not_fit_is_told(artifact: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lineage({MODEL: "success"}, artifact)


def test_the_parts_of_a_name_are_parted_as_this_airflow_wants_it() -> None:
    assert asset_uri("postgres://h:5432", "db.sch.my table", has_slashes=True) == "postgres://h:5432/db/sch/my%20table"
    assert asset_uri("postgres://h:5432", "db.sch.é", has_slashes=False) == "postgres://h:5432/db.sch.%C3%A9"
    assert asset_uri("duckdb:///höfe/%20.db", "a.b", has_slashes=True) == "duckdb:///h%C3%B6fe/%20.db/a/b"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"type": "postgres", "host": "h"}, "postgres://h:5432", id="postgres"),
        pytest.param({"type": "redshift", "host": "h"}, "redshift://h:5439", id="redshift"),
        pytest.param({"type": "trino", "host": "h"}, "trino://h:8080", id="trino"),
        pytest.param({"type": "clickhouse", "host": "h", "port": ""}, "clickhouse://h:8123", id="clickhouse"),
        pytest.param({"type": "sqlserver", "server": "s"}, "mssql://s:1433", id="sqlserver"),
        pytest.param({"type": "dremio", "software_host": "s"}, "dremio://s:443", id="dremio"),
        pytest.param({"type": "duckdb"}, "duckdb://:memory:", id="duckdb"),
        pytest.param({"type": "duckdb", "path": "ducklake:postgres:host=h password=x"}, None, id="a-catalog"),
        pytest.param({"type": "oracle", "host": "h"}, None, id="unknown-to-openlineage"),
        pytest.param({"type": "spark", "method": "session", "host": "NA"}, None, id="spark-session"),
    ],
)
def test_what_a_profile_leaves_to_the_adapter_is_the_adapters_default(
    fields: dict[str, Any], expected: str | None
) -> None:
    assert namespace(fields.get) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"type": "duckdb", "path": "md:harbor?motherduck_token=s3cret"}, "duckdb://md:harbor", id="token"),
        pytest.param({"type": "duckdb", "path": "pg://me:s3cret@h/db"}, "duckdb://pg://h/db", id="path"),
        pytest.param({"type": "duckdb", "path": "/data/me@home.duckdb"}, "duckdb:///data/me@home.duckdb", id="file"),
        pytest.param({"type": "trino", "host": "me:s3cret@h"}, "trino://h:8080", id="host"),
    ],
)
def test_credentials_are_no_part_of_a_uri(fields: dict[str, Any], expected: str) -> None:
    assert namespace(fields.get) == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"type": "postgres", "port": 1}, "of type 'postgres', has no 'host'", id="plain"),
        pytest.param({"type": "glue", "region": "r"}, "neither 'account_id' nor a 'role_arn'", id="glue"),
        pytest.param({"type": "snowflake"}, "of type 'snowflake', has no 'account'", id="snowflake"),
    ],
)
def test_a_field_that_is_missing_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        namespace(fields.get)


@pytest.fixture
def profiles_yml(tmp_path: Path) -> Path:
    outputs = {"dev": {"host": "{{ env_var('HARBOR_HOST') }}", "password": "{{ env_var('NOT_SET') }}", "threads": 4}}
    path = tmp_path / "profiles.yml"
    path.write_text(json.dumps({"harbor": {"outputs": {**outputs, "prod": {"host": "{{ var('x') }}"}}}}))
    return path


def test_a_field_of_a_profile_is_rendered_with_dbts_variables_when_it_is_asked_for(profiles_yml: Path) -> None:
    field = profile_fields(profiles_yml, profile="harbor", target="dev", environment=ENVIRONMENT)

    assert (field("host"), field("threads"), field("port")) == ("pg.harbor.example", 4, None)
    with pytest.raises(CosmosValueError, match="password of the profile needs the environment variable NOT_SET"):
        field("password")


def test_what_cannot_be_read_of_a_profile_is_named(profiles_yml: Path) -> None:
    prod = profile_fields(profiles_yml, profile="harbor", target="prod", environment={})

    with pytest.raises(CosmosValueError, match=r"host of the profile is .*var\('x'\).* worked out by dbt alone"):
        prod("host")
    with pytest.raises(CosmosValueError, match=r"profiles\.yml has no target 'test' in a profile 'harbor'"):
        profile_fields(profiles_yml, profile="harbor", target="test", environment={})
    profiles_yml.write_text("harbor: {{ env_var('HARBOR') }}\n")
    with pytest.raises(CosmosValueError, match=r"profiles\.yml is no YAML: "):
        profile_fields(profiles_yml, profile="harbor", target="dev", environment={})


OPENLINEAGE = """
import json, pathlib, sys
from openlineage.common.provider.dbt.local import DbtLocalArtifactProcessor

found = {}
for target in json.loads(sys.argv[1]):
    processor = DbtLocalArtifactProcessor(
        project_dir=".", profile_name="harbor", target=target, producer="https://example.com", job_namespace="harbor"
    )
    completed = processor.parse().completes
    found[target] = {
        side: [[each.namespace, each.name] for event in completed for each in getattr(event, side)]
        for side in ("inputs", "outputs")
    }
print("FOUND", json.dumps(found))
"""


@pytest.fixture(scope="module")
def openlineage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[list[str]]]]:
    """The datasets that OpenLineage's processor finds for each profile."""
    if is_missing(PYTHON):
        pytest.skip("no OpenLineage at .cache/envs/openlineage: make test makes it")
    folder = written_project(tmp_path_factory.mktemp("openlineage"))
    (folder / "target").mkdir()
    (folder / "target" / "manifest.json").write_text(manifest())
    # It passes seeds over; ours are named like everything else.
    statuses = {name: status for name, status in STATUSES.items() if name != SEED}
    (folder / "target" / "run_results.json").write_text(run_results(statuses, profiles_dir=str(folder)))
    done = subprocess.run(
        [str(PYTHON), "-c", OPENLINEAGE, json.dumps(list(PROFILES))],
        env={**os.environ, **ENVIRONMENT},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, list[list[str]]]] = json.loads(done.stdout.rpartition("FOUND")[2])
    return found


def written_project(folder: Path) -> Path:
    outputs = {name: {"type": name, **fields} for name, fields in PROFILES.items()}
    (folder / "profiles.yml").write_text(json.dumps({"harbor": {"target": "duckdb", "outputs": outputs}}))
    (folder / "dbt_project.yml").write_text("name: harbor\n")
    return folder


@pytest.mark.parametrize("target", PROFILES)
def test_assets_are_those_that_openlineage_names(
    target: str, openlineage: dict[str, dict[str, list[list[str]]]], tmp_path: Path
) -> None:
    profiles_yml = written_project(tmp_path) / "profiles.yml"
    found = lineage({name: status for name, status in STATUSES.items() if name != SEED}, manifest())
    where = namespace(profile_fields(profiles_yml, profile="harbor", target=target, environment=ENVIRONMENT))

    assert [[where, name] for name in found.outlets] == openlineage[target]["outputs"]
    assert {(where, name) for name in found.inlets} == {tuple(pair) for pair in openlineage[target]["inputs"]}


def test_every_adapter_that_we_know_is_compared() -> None:
    assert {str(fields.get("type", name)) for name, fields in PROFILES.items()} == set(ADAPTERS)
