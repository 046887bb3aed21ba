"""``on_error: continue`` on dbt 1.12: tasks of nodes build what one ``dbt build`` of all nodes builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.constants import BatchBy, ExecutionMode
from pytest_cosmos_venv import CosmosAirflow
from tests.engines import ENGINES
from tests.whole.real_dags import real_dag, write_project

ON_ERROR = "{{ config(on_error='continue') }} "
BROKEN = "select * from nowhere"
# Parents are named in comments: tables of those that have failed are not there.
MODELS = {
    "daily": f"{ON_ERROR}{BROKEN}",
    "report": "select 1 as id -- {{ ref('daily') }}",
    "board": "select 1 as id -- {{ ref('report') }}",
    "raw": BROKEN,
    "late": f"{ON_ERROR}select 1 as id -- {{{{ ref('raw') }}}}",
    "of_late": "select 1 as id -- {{ ref('late') }}",
    "both": "select 1 as id -- {{ ref('daily') }} {{ ref('raw') }}",
    "tested": f"{ON_ERROR}select 1 as id",
    "of_tested": "select 1 as id -- {{ ref('tested') }}",
}
TESTS = """
models:
  - name: tested
    columns: [{name: id, data_tests: [{accepted_values: {arguments: {values: [5]}}}]}]
"""


@pytest.mark.long
@pytest.mark.timeout(580)
@pytest.mark.usefixtures("no_other_servers")
def test_the_same_models_are_built_in_each_mode(
    kept_directory: Path, tmp_path: Path, cosmos_airflow: CosmosAirflow
) -> None:
    (engine,) = (each for each in ENGINES if each.name == "1.12")
    engine.require()
    files = {**{f"{name}.sql": text for name, text in MODELS.items()}, "tests.yml": TESTS}
    project = write_project(tmp_path / "harbor", files)

    def built(mode: ExecutionMode, batch_by: BatchBy | None) -> set[str]:
        dag = real_dag(project, kept_directory, engine.arguments, mode=mode, batch_by=batch_by, run_summary=True)
        outcome = cosmos_airflow.run(dag, raise_on_failure=False)
        assert outcome.state == "failed"
        rows: list[dict[str, Any]] = [
            row for each in outcome.tasks.values() for row in each.xcoms.get("dbt_nodes") or ()
        ]
        return {row["node"] for row in rows if row["status"] == "success"}

    by_one_command = built(ExecutionMode.VIRTUALENV, BatchBy.ALL)

    assert {each.rpartition(".")[2] for each in by_one_command} == {"report", "board", "tested"}
    assert built(ExecutionMode.VIRTUALENV, None) == by_one_command
    assert built(ExecutionMode.WATCHER, None) == by_one_command
