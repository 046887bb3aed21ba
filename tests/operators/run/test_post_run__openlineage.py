"""The events of dbt's nodes for OpenLineage, where Airflow's provider is active. Elsewhere it is not imported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.installed import DBT, ENVIRONMENTS
from tests.operators.whole_airflow import WholeAirflow

PYTHON = ENVIRONMENTS / "openlineage" / "bin" / "python"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (PYTHON.exists() and DBT.exists()) and os.environ.get("CI") != "true",
        reason="no OpenLineage at .cache/envs/openlineage: make test makes it",
    ),
]

DAG_FILE = """
import json, os, sys
from datetime import datetime, timedelta, timezone
from cosmos_venv import ProfileConfig
from cosmos_venv.compat import DAG
from cosmos_venv.operators.local import DbtBatchLocalOperator, DbtRunLocalOperator

shared = dict(
    project_dir={project!r},
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    dbt_executable_path={dbt!r},
    install_deps=False,
    env={{"HARBOR_FILE": {database!r}}},
)
with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:  # airflow
    staging = DbtRunLocalOperator(task_id="staging", select="staging", **shared)
    broken = DbtRunLocalOperator(task_id="broken", select="broken mart", **shared)
    nodes = {{"model.harbor.staging": "staging", "model.harbor.mart": "mart"}}
    batch = DbtBatchLocalOperator(task_id="batch", nodes=nodes, trigger_rule="all_done", **shared)
    retried = DbtBatchLocalOperator(
        task_id="retried",
        nodes={{"model.harbor.staging": "staging", "model.harbor.late": "late"}},
        trigger_rule="all_done",
        retries=1,
        retry_delay=timedelta(0),
        **{{**shared, "env": {{**shared["env"], "HARBOR_TRY": "{{{{ ti.try_number }}}}"}}}},
    )
    staging >> broken >> batch >> retried
if __name__ == "__main__":
    before = dict(os.environ)
    run = dag.test()
    sys.stdout.write("RESULT " + json.dumps(dict(
        states={{ti.task_id: ti.state for ti in run.get_task_instances()}},
        imported=sorted(name for name in sys.modules if name.startswith("openlineage.common")),
        changed=sorted(name for name in {{*before, *os.environ}}
            if before.get(name) != os.environ.get(name) and not name.startswith("AIRFLOW_CTX_")),
    )) + "\\n")  # at once: other threads log
"""

LATE = """
select {{ 'nothing' if env_var('HARBOR_TRY', '2') == '1' else 'id' }} from {{ ref('staging') }}
"""
"""It fails in the first try."""


class Run(Protocol):
    """Run two tasks on an Airflow with its OpenLineage provider, configured by these variables."""

    def __call__(self, **variables: str) -> dict[str, Any]: ...


@pytest.fixture
def run(dbt_project: Path, tmp_path: Path) -> Run:
    (dbt_project / "profiles.yml").write_text(
        "harbor: {target: dev, outputs: {dev: {type: duckdb, path: \"{{ env_var('HARBOR_FILE') }}\"}}}"
    )
    (dbt_project / "models" / "staging.sql").write_text("select 1 as id")
    (dbt_project / "models" / "broken.sql").write_text("select nothing from (select 1 as a)")
    (dbt_project / "models" / "late.sql").write_text(LATE)

    def run(**variables: str) -> dict[str, Any]:
        configured = {f"AIRFLOW__OPENLINEAGE__{name}": value for name, value in variables.items()}
        airflow = WholeAirflow(python=PYTHON, folder=tmp_path, variables=configured)
        database = str(tmp_path / "harbor.duckdb")
        said = airflow.run_dag_file(DAG_FILE.format(project=str(dbt_project), dbt=str(DBT), database=database))
        result: dict[str, Any] = json.loads(said.rpartition("RESULT")[2].splitlines()[0])
        return {**result, "said": said}

    return run


def test_openlineage_hears_what_each_node_has_read_and_written(run: Run, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    transport = {"type": "file", "log_file_path": str(heard), "append": True}

    result = run(TRANSPORT=json.dumps(transport))

    assert result["states"] == {"staging": "success", "broken": "failed", "batch": "success", "retried": "success"}
    assert result["changed"] == []
    events = [json.loads(line) for line in heard.read_text().splitlines()]
    told = {(event["job"]["name"], event["eventType"]): event for event in events}
    staging, broken = told[("harbor.staging", "COMPLETE")], told[("harbor.broken", "FAIL")]
    (output,) = staging["outputs"]
    assert (output["namespace"], output["name"]) == (f"duckdb://{tmp_path / 'harbor.duckdb'}", "harbor.main.staging")
    assert staging["job"]["facets"]["sql"]["query"] == "select 1 as id"
    assert [each["name"] for each in broken["outputs"]] == ["harbor.main.mart"]
    assert [each["name"] for each in broken["inputs"]] == ["harbor.main.staging"]
    batch = told[("harbor.batch", "COMPLETE")]
    assert {each["name"] for each in batch["outputs"]} == {"harbor.main.staging", "harbor.main.mart"}
    assert {each["name"] for each in batch["inputs"]} == {"harbor.main.staging"}
    first, last = told[("harbor.retried", "FAIL")], told[("harbor.retried", "COMPLETE")]
    assert {each["name"] for each in first["outputs"]} == {"harbor.main.staging"}
    assert {each["name"] for each in last["outputs"]} == {"harbor.main.late"}, "each try is a run of its own"


def test_where_the_provider_is_not_active_openlineage_is_not_imported(run: Run) -> None:
    result = run(DISABLED="True")

    assert result["states"] == {"staging": "success", "broken": "failed", "batch": "success", "retried": "success"}
    assert result["imported"] == []
