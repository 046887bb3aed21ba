"""``on_error: continue`` on dbt 1.12: tasks of nodes build what one ``dbt build`` of all nodes builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import BatchBy, ExecutionMode, LoadMode
from pytest_cosmos_venv import CosmosAirflow
from tests.engines import ENGINES
from tests.rendering.recorded_project import START
from tests.whole.test_real_batches import write_profile

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
    project = tmp_path / "harbor"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
    write_profile(project)
    for name, text in MODELS.items():
        (project / "models" / f"{name}.sql").write_text(text)
    (project / "models" / "tests.yml").write_text(TESTS)

    def built(mode: ExecutionMode, batch_by: BatchBy | None) -> set[str]:
        dag = DbtDag(
            dag_id="harbor",
            schedule=None,
            start_date=START,
            project_config=ProjectConfig(project, install_dbt_deps=False),
            profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
            execution_config=ExecutionConfig(execution_mode=mode, virtualenv_dir=kept_directory),
            render_config=RenderConfig(load_method=LoadMode.DBT_LS, batch_by=batch_by, run_summary=True),
            operator_args=engine.arguments,
        )
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
