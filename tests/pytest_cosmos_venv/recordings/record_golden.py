"""Recording what each release of dbt does on a small project: tests/data/recordings anew, a recording for each.

    python -m tests.pytest_cosmos_venv.recordings.record_golden          # all releases below
    python -m tests.pytest_cosmos_venv.recordings.record_golden 1.11

Each release is installed into a temporary environment, from the wheels that `make test` has fetched. The
fake dbt is compared with these recordings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.throwaway import throwaway_folder
from tools.bootstrap import ROOT, wheelhouse_of

RELEASES: Mapping[str, tuple[Path, tuple[str, ...]]] = {
    "1.10": (ROOT / ".cache" / "wheelhouse", ("dbt-core~=1.10.0", "dbt-duckdb~=1.10.0")),
    "1.11": (ROOT / ".cache" / "wheelhouse", ("dbt-core~=1.11.0", "dbt-duckdb~=1.11.0")),
    "1.12": (wheelhouse_of("dbt112"), ("dbt-core==1.12.0", "dbt-core-experimental-parser==2.0.0a4", "dbt-duckdb")),
    "2.0": (wheelhouse_of("dbt2"), ("dbt-core==2.0.0a4",)),
}
DATA = ROOT / "tests" / "data" / "recordings"
DRIVERS = ROOT / ".cache" / "drivers"
PROJECT = {
    "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\n",
    "profiles.yml": "harbor: {target: dev, outputs: {dev: {type: duckdb, path: dev.duckdb, threads: 1}}}\n",
    "seeds/piers.csv": "id,name\n1,North\n2,South\n",
    "seeds/properties.yml": "seeds: [{name: piers, config: {tags: [good]}}]\n",
    "models/ships.sql": "{{ config(tags=['good']) }}\nselect * from {{ ref('piers') }}\n",
    "models/voyages.sql": "{{ config(tags=['good'], materialized='table') }}\nselect id from {{ ref('ships') }}\n",
    "models/broken.sql": "{{ config(tags=['bad']) }}\nselect nothing from (select 1 as a)\n",
    "models/below.sql": "{{ config(tags=['bad']) }}\nselect * from {{ ref('broken') }}\n",
    "models/lanes.sql": "{{ config(tags=['doubtful']) }}\nselect 1 as id\n",
    "models/properties.yml": """
models:
  - name: ships
    columns:
      - name: id
        data_tests: [unique]
  - name: lanes
    columns:
      - name: id
        data_tests:
          - accepted_values: {name: odd, arguments: {values: [2]}, config: {severity: warn}}
          - accepted_values: {name: wrong, arguments: {values: [3]}}
""",
    "models/sources.yml": """
sources:
  - name: raw
    schema: main
    tables:
      - name: arrivals
        config:
          tags: [good]
          loaded_at_query: "select timestamp '2020-01-01'"
          freshness: {warn_after: {count: 1, period: day}}
      - name: departures
        config:
          loaded_at_query: "select timestamp '2020-01-01'"
          freshness: {error_after: {count: 1, period: day}}
      - name: quiet
""",
}
# Of its three batches the second fails in the database. dbt 2 knows no partial success, and dbt 1.10 with one thread
# comes to no end where batches may run at once.
PINGS = """
{{ config(materialized="incremental", incremental_strategy="microbatch", event_time="day", batch_size="day",
          begin="2026-01-01", tags=["batches"], concurrent_batches=false) }}
{%- set start = model.batch.event_time_start if execute and model.batch else none %}
select date '2026-01-01' as day, {{ "nothing" if start and start.day == 2 else "1" }} as n
"""
DAYS = ("--event-time-start", "2026-01-01", "--event-time-end", "2026-01-04")
WHOLE = ("build", "--log-format", "json")
COMMANDS = (
    ("build", "--select", "tag:good"),
    ("build", "--select", "tag:bad"),
    ("build", "--select", "tag:doubtful"),
    WHOLE,
)
LISTINGS = (
    ("ls",),
    ("ls", "--output", "json"),
    ("ls", "--output", "name", "--select", "+ships+", "source:raw.arrivals"),
    ("ls", "--output", "json", "--output-keys", "unique_id fqn source_name", "--select", "source:raw"),
)
# dbt 2 does not do this yet.
FRESHNESS = ("source", "freshness")
PARTIAL = ("run", "--select", "tag:batches", *DAYS)
# Debug events that tell of the work on a node, and not of the connection to a database.
_KEPT = ("NodeStart", "NodeExecuting", "NodeFinished", "MarkSkippedChildren", "ArtifactWritten", "CommandCompleted")


def main(releases: list[str]) -> None:
    """Record each of the releases."""
    for release in releases or RELEASES:
        with throwaway_folder("record-golden-") as folder:
            wheels, requirements = RELEASES[release]
            dbt = _install(folder / "venv", wheels, requirements)
            record(dbt, folder / "harbor", folder / "recording", is_native=release.startswith("2"))
            slim(folder / "recording")
            shutil.rmtree(DATA / release, ignore_errors=True)
            shutil.copytree(folder / "recording", DATA / release)
        size = sum(file.stat().st_size for file in (DATA / release).rglob("*") if file.is_file())
        print(f"{release}: {size / 1000:.0f} kB")


def record(dbt: Path, project: Path, recording: Path, *, is_native: bool) -> None:
    """Write the project and record its commands.

    :param dbt: the executable of a real dbt.
    :param project: the folder of the project, which is made.
    :param recording: the folder of the recording.
    :param is_native: whether it is a dbt 2.
    """
    for name, text in PROJECT.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(project.parent),
        "PYTHONPATH": str(ROOT),
        "LD_LIBRARY_PATH": str(DRIVERS),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_USE_COLORS": "false",
        # Asked for a newer release, which it would tell of.
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    recorder = [sys.executable, "-m", "pytest_cosmos_venv.recordings", str(recording), "--", str(dbt)]
    for command in (*COMMANDS, *LISTINGS) if is_native else (*COMMANDS, *LISTINGS, FRESHNESS, PARTIAL):
        if command == PARTIAL:
            # Not before: each command would warn that it has no input with a time.
            (project / "models" / "pings.sql").write_text(PINGS, encoding="utf-8")
        subprocess.run([*recorder, *command], cwd=project, env=variables, stdout=subprocess.DEVNULL, check=False)


def slim(recording: Path) -> None:
    """Leave out what is long and says nothing of dbt's own behaviour.

    :param recording: the folder of the recording.
    """
    for file in recording.glob("*/events.jsonl"):
        lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line and _is_kept(json.loads(line))]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = json.loads((recording / "recording.json").read_text(encoding="utf-8"))["commands"][len(COMMANDS) - 1]
    for file in recording.glob("*/artifacts/*.json"):
        if file.name not in ("run_results.json", "sources.json") and file.parents[1].name != whole["folder"]:
            file.unlink()


def _is_kept(event: dict[str, Any]) -> bool:
    return event["info"]["level"] != "debug" or event["info"]["name"] in _KEPT


def _install(venv: Path, wheels: Path, requirements: tuple[str, ...]) -> Path:
    python = venv / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    offline = ["--no-index", "--find-links", str(wheels)]
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *offline, *requirements], check=True)
    return python.with_name("dbt")


if __name__ == "__main__":
    main(sys.argv[1:])
