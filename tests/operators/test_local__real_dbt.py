"""The local operators with a real dbt on DuckDB: what its artifacts, log and output really look like."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators import local
from cosmos_venv.operators.run import dbt_run
from cosmos_venv.profiles import DbtProfileConfigVars, DuckDBUserPasswordProfileMapping
from pytest_cosmos_venv import CosmosAirflow
from tests.installed import DBT, needs_dbt
from tests.kit import MakeNamed, operator_arguments

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
def make(dbt_project: Path, tmp_path: Path) -> MakeNamed:
    (dbt_project / "models" / "schema.yml").write_text(SCHEMA)
    (dbt_project / "models" / "staging.sql").write_text("select 1 as id union all select 1\n")
    (dbt_project / "models" / "ships.sql").write_text("select timestamp '2020-01-01' as loaded_at\n")
    profile = f"harbor:\n  target: dev\n  outputs:\n    dev: {{type: duckdb, path: '{tmp_path / 'harbor.duckdb'}'}}\n"
    (dbt_project / "profiles.yml").write_text(profile)

    def make(name: str, **arguments: Any) -> Any:
        return getattr(local, f"Dbt{name}LocalOperator")(
            dbt_executable_path=DBT,
            env={"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            **operator_arguments(dbt_project) | arguments,
        )

    return make


@pytest.mark.long
def test_warnings_sql_and_freshness_of_a_real_dbt(make: MakeNamed) -> None:
    told: list[dict[str, Any]] = []

    run, source = make("Run", select="staging ships"), make("Source", on_warning_callback=told.append)
    run.execute({})
    make("Test", select="staging", on_warning_callback=told.append).execute({})
    source.execute({})

    assert "-- compiled/harbor/models/staging.sql\nselect 1 as id" in run.compiled_sql
    assert "-- run/harbor/models/staging.sql\n" in run.compiled_sql
    assert [each["test_names"] for each in told] == [["unique_staging_id"], ["raw.ships"]]
    assert told[0]["test_results"] == ["Got 1 result, configured to warn if != 0"]
    assert "2020-01-01" in told[1]["test_results"][0]
    assert '"status": "warn"' in source.freshness


@pytest.mark.long
def test_what_a_real_dbt_says_of_its_failures_heads_the_error(make: MakeNamed, dbt_project: Path) -> None:
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
@pytest.mark.usefixtures("short_folder")
def test_a_retry_of_a_batch_whose_dbt_starts_warm_runs_what_is_not_done(
    make: MakeNamed, dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cosmos_airflow: CosmosAirflow
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    started: list[str] = []
    monkeypatch.setattr(dbt_run, "count", lambda _, tags: started.append(tags.get("reason", "warm")))
    nodes = {f"model.harbor.{name}": name for name in ("staging", "mart", "late")}
    nodes["test.harbor.holes"] = "holes"
    (dbt_project / "tests").mkdir(exist_ok=True)
    (dbt_project / "tests" / "holes.sql").write_text("select * from {{ ref('staging') }} where id is null")
    pushed: list[list[dict[str, Any]]] = []

    def run(number: int, late: str) -> None:
        (dbt_project / "models" / "late.sql").write_text(late)
        ti = SimpleNamespace(
            dag_id="harbor",
            run_id="night",
            task_id="batch",
            try_number=number,
            max_tries=1,
            xcom_push=lambda value, **_: pushed.append(value),
        )
        make("Batch", nodes=nodes, warm_dbt="require", indirect_selection="empty").execute(
            {"ti": ti, "run_id": "night"}
        )

    with pytest.raises(AirflowException, match=r"^late failed, 3 of 4 nodes done\.\n") as failed:
        run(1, "select nothing from {{ ref('mart') }}")
    run(2, "select id from {{ ref('mart') }}")

    assert 'Referenced column "nothing" not found' in str(failed.value)
    assert started == ["warm", "warm"]
    tries = [{row["node"].split(".")[2]: (row["status"], row["try_number"]) for row in rows} for rows in pushed]
    done = {"staging": ("success", 1), "mart": ("success", 1), "holes": ("pass", 1)}
    assert tries == [{**done, "late": ("error", 1)}, {**done, "late": ("success", 2)}]
    assert cosmos_airflow.variables.values == {}


@pytest.mark.long
def test_settings_of_the_profile_hide_nothing_that_dbt_says(
    make: MakeNamed, dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.long
def test_a_real_dbt_runs_what_has_changed_since_the_last_success(
    make: MakeNamed, dbt_project: Path, cosmos_airflow: CosmosAirflow
) -> None:
    """Each run has a folder of its own, which must not make everything look changed."""
    _ = cosmos_airflow.variables  # from here on there are Variables

    def run(select: str = "state:modified+", **arguments: Any) -> list[str]:
        ran: list[str] = []

        def look(project_dir: str, **_: Any) -> None:
            results = json.loads((Path(project_dir) / "target" / "run_results.json").read_text())["results"]
            ran.extend(result["unique_id"].split(".")[2] for result in results)

        make("Build", select=select, callback=look, **arguments).execute({})
        return sorted(ran)

    (dbt_project / "models" / "schema.yml").unlink()
    given: dict[str, Any] = {"state": "last_success", "defer_to_state": True}
    first, second = run(**given), run(**given)
    (dbt_project / "models" / "staging.sql").write_text("select 2 as id\n")
    third, fourth = run(**given), run(**given)

    assert first == ["mart", "piers", "ships", "staging"]
    assert (second, third, fourth) == ([], ["mart", "staging"], [])
