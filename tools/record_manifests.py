"""Recording what each release of dbt writes into a manifest: tests/data/manifests anew, one small file per release.

    python -m tools.record_manifests            # all releases below; each is installed into a temporary environment
    python -m tools.record_manifests 1.11

Needs uv on the PATH, a package index, and Python 3.11 for the older releases.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.throwaway import throwaway_folder

RELEASES = ("1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11")
DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "manifests"
PROJECT = {
    "dbt_project.yml": "name: pier\nversion: '1.0'\nprofile: pier\nconfig-version: 2\nmodel-paths: [models]\n",
    "profiles.yml": "pier:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: pier.duckdb}\n",
    "seeds/boats.csv": "id,name\n1,Ana\n",
    "models/sources.yml": """version: 2
sources:
  - name: raw
    tables:
      - name: trips
        loaded_at_field: at
        freshness: {warn_after: {count: 1, period: day}}
""",
    "models/models.yml": """version: 2
models:
  - name: stg_boats
    description: All boats.
    config: {tags: [nightly]}
    columns:
      - name: id
        tests: [unique, not_null]
  - name: fleet
    latest_version: 2
    versions: [{v: 1}, {v: 2}]
exposures:
  - name: board
    type: dashboard
    owner: {name: Ana, email: ana@example.org}
    depends_on:
      - ref('fleet', v=2)
""",
    "models/stg_boats.sql": "select * from {{ ref('boats') }}",
    "models/trips.sql": "{{ config(materialized='table', group=none) }} select * from {{ source('raw', 'trips') }}",
    "models/fleet_v1.sql": "select * from {{ ref('stg_boats') }}",
    "models/fleet_v2.sql": "select * from {{ ref('stg_boats') }} join {{ ref('trips') }} using (id)",
    "models/old.sql": "{{ config(enabled=false) }} select 1",
    "tests/no_boat_is_lost.sql": "select * from {{ ref('stg_boats') }} where false",
    "snapshots/boats_then.sql": """{% snapshot boats_then %}
{{ config(target_schema='s', unique_key='id', strategy='check', check_cols='all') }}
select * from {{ ref('boats') }}
{% endsnapshot %}
""",
    "analyses/how_many.sql": "select count(*) from {{ ref('fleet') }}",
    "selectors.yml": "selectors:\n  - name: nightly\n    definition: {method: tag, value: nightly}\n",
}
_SECTIONS = (
    "metadata",
    "nodes",
    "sources",
    "exposures",
    "metrics",
    "semantic_models",
    "saved_queries",
    "unit_tests",
    "functions",
    "disabled",
    "selectors",
)
# What is written once for each node, and long.
_LONG = {"raw_code", "raw_sql", "compiled_code", "root_path", "build_path", "checksum", "docs", "doc_blocks", "metrics"}


def main(releases: list[str]) -> None:
    """Write a manifest for each of the releases."""
    DATA.mkdir(parents=True, exist_ok=True)
    for release in releases or RELEASES:
        with throwaway_folder("record-manifests-") as folder:
            content = trimmed(manifest_of(release, folder))
        path = DATA / f"{release}.json"
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{path.name}: {content['metadata']['dbt_version']}, {len(content['nodes'])} nodes")


def manifest_of(release: str, folder: Path) -> dict[str, Any]:
    """The manifest that the newest dbt of this release writes for the project."""
    python = folder / "venv" / "bin" / "python"
    _run(["uv", "venv", "--quiet", "--python", "3.11", str(folder / "venv")], folder)
    wanted = [f"dbt-core~={release}.0", "dbt-duckdb"]
    _run(["uv", "pip", "install", "--quiet", "--python", str(python), *wanted], folder)
    for name, text in PROJECT.items():
        (folder / "pier" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "pier" / name).write_text(text, encoding="utf-8")
    _run([str(python.with_name("dbt")), "parse", "--profiles-dir", "."], folder / "pier")
    content: dict[str, Any] = json.loads((folder / "pier" / "target" / "manifest.json").read_text(encoding="utf-8"))
    return content


def trimmed(manifest: dict[str, Any]) -> dict[str, Any]:
    """Without what is long, and without what differs between two recordings of one release."""
    kept = {name: manifest[name] for name in _SECTIONS if name in manifest}
    for section in kept.values():
        for entry in section.values() if isinstance(section, dict) else ():
            for each in entry if isinstance(entry, list) else [entry]:
                if isinstance(each, dict):
                    _drop(each, {*_LONG, "created_at"})
    _drop(
        kept["metadata"], {"generated_at", "invocation_id", "invocation_started_at", "user_id", "env", "run_started_at"}
    )
    return kept


def _drop(mapping: dict[str, Any], keys: set[str]) -> None:
    for key in keys & set(mapping):
        del mapping[key]


def _run(command: list[str], folder: Path) -> None:
    env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    subprocess.run(command, cwd=folder, env=env, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
