"""The local operators with a real dbt on DuckDB: what its artifacts, log and output really look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators import local
from cosmos_venv.profiles import DbtProfileConfigVars, DuckDBUserPasswordProfileMapping
from tests.installed import DBT, needs_dbt
from tests.kit import MakeTask, operator_arguments

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), needs_dbt]

SCHEMA = """
models:
  - name: staging
    columns:
      - name: id
        data_tests: [{unique: {config: {severity: warn}}}]
sources:
  - name: raw
    schema: main
    tables:
      - name: ships
        loaded_at_field: loaded_at
        freshness: {warn_after: {count: 1, period: day}}
"""


# Of its three batches the second fails in the database.
PINGS = """
{{ config(materialized="incremental", incremental_strategy="microbatch", event_time="day", batch_size="day",
          begin="2026-01-01") }}
{%- set start = model.batch.event_time_start if execute and model.batch else none %}
select date '2026-01-01' as day, {{ "nothing" if start and start.day == 2 else "1" }} as n
"""
COUNTED = """
unit_tests:
  - name: one
    model: counted
    given: [{input: ref('staging'), rows: [{id: 1}]}]
    expect: {rows: [{n: 5}]}
"""


@pytest.fixture
def make(dbt_project: Path, tmp_path: Path) -> MakeTask:
    (dbt_project / "models" / "schema.yml").write_text(SCHEMA)
    (dbt_project / "models" / "staging.sql").write_text("select 1 as id union all select 1\n")
    (dbt_project / "models" / "ships.sql").write_text("select timestamp '2020-01-01' as loaded_at\n")
    profile = f"harbor:\n  target: dev\n  outputs:\n    dev: {{type: duckdb, path: '{tmp_path / 'harbor.duckdb'}'}}\n"
    (dbt_project / "profiles.yml").write_text(profile)

    def make(of: str = "Run", **arguments: Any) -> Any:
        return getattr(local, f"Dbt{of}LocalOperator")(
            dbt_executable_path=DBT,
            env={"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            **operator_arguments(dbt_project) | arguments,
        )

    return make


@pytest.mark.long
def test_what_a_real_dbt_says_of_its_failures_heads_the_error(make: MakeTask, dbt_project: Path) -> None:
    models = dbt_project / "models"
    (models / "broken.sql").write_text("select nothing from (select 1 as a)")
    (models / "pings.sql").write_text(PINGS)
    (models / "counted.sql").write_text("select count(*) as n from {{ ref('staging') }}")
    (models / "counted.yml").write_text(COUNTED)
    period = ["--event-time-start", "2026-01-01", "--event-time-end", "2026-01-04"]
    with pytest.raises(AirflowException) as of_models:
        make("Build", select="staging broken pings counted", dbt_cmd_flags=period).execute({})
    (models / "broken.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(AirflowException) as of_the_project:
        make("Run", select="staging").execute({})

    head, *lines = str(of_models.value).splitlines()
    reasons = lines[: lines.index("dbt's last lines:")]
    assert head == "dbt command failed. The command returned a non-zero exit code 1."
    assert any(line.startswith("model.harbor.broken: error: Runtime Error in model broken") for line in reasons)
    assert "  compiled code at target/compiled/harbor/models/broken.sql" in reasons
    pings = reasons.index("model.harbor.pings: partial success: 1 of 3 batches failed")
    assert reasons[pings + 1].startswith("  batch 2026-01-02: ")
    assert 'Referenced column "nothing"' in reasons[pings + 2]
    unit_test = reasons.index("unit_test.harbor.counted.one: fail: actual differs from expected:")
    assert "---,5" in reasons[unit_test:]
    assert "\x1b" not in str(of_models.value)
    head, first, *rest = str(of_the_project.value).splitlines()
    assert head == "dbt command failed. The command returned a non-zero exit code 2."
    assert first == "Encountered an error:"
    assert sum("depends on a node named 'nowhere' which was not found" in line for line in rest) == 1


@pytest.mark.long
def test_settings_of_the_profile_hide_nothing_that_dbt_says(
    make: MakeTask, dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These make dbt write its log to the task in JSON, and no artifacts, by which alone warnings are known."""
    monkeypatch.setenv("AIRFLOW_CONN_HARBOR", json.dumps({"conn_type": "duckdb", "host": f"{tmp_path}/harbor.duckdb"}))
    settings = DbtProfileConfigVars(log_format="json", write_json=False, printer_width=200)
    mapping = DuckDBUserPasswordProfileMapping("harbor", dbt_config_vars=settings)
    given = {"profile_config": ProfileConfig("harbor", "dev", profile_mapping=mapping)}
    (dbt_project / "models" / "broken.sql").write_text("select nothing from (select 1 as a)")

    with pytest.raises(AirflowException) as failed:
        make("Run", select="staging broken", **given).execute({})

    reasons, _, tail = str(failed.value).partition("dbt's last lines:")
    assert 'Referenced column "nothing" not found' in reasons
    assert "Done. PASS=1 WARN=0 ERROR=1" in tail
    assert '"info"' not in tail
