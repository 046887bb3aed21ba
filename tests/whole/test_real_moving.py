"""A DAG as Cosmos's own examples write it, for real: dbt on DuckDB, in environments without a place of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.sdk import task

from cosmos_venv.airflow.task_group import DbtTaskGroup
from cosmos_venv.compat import DAG
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.managed import caches
from pytest_cosmos_venv import RunDag
from tests.engines import DBT_1
from tests.kit import published_build
from tests.rendering.recorded_project import START

MODEL = (
    "select '{{ var('day') }}' as day, '{{ env_var('PORT') }}' as port, (select count(*) from {{ ref('piers') }}) as n"
)


@pytest.mark.long
@pytest.mark.timeout(280)
def test_dbt_ls_without_a_virtualenv_dir_and_values_of_another_task(
    dbt_project: Path, tmp_path: Path, cosmos_run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    DBT_1.require()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    database = tmp_path / "harbor.duckdb"
    profiles = f"harbor: {{target: dev, outputs: {{dev: {{type: duckdb, path: '{database}'}}}}}}\n"
    (dbt_project / "profiles.yml").write_text(profiles)
    (dbt_project / "models" / "staging.sql").write_text(MODEL)
    (dbt_project / "models" / "mart.sql").unlink()

    @task
    def tide() -> dict[str, str]:
        return {"day": "Monday", "port": "North"}

    with DAG("harbor", schedule=None, start_date=START) as dag:
        given: Any = tide()
        DbtTaskGroup(
            "dbt",
            project_config=ProjectConfig(
                dbt_project, env_vars={"PORT": given["port"]}, dbt_vars={"day": given["day"]}, install_dbt_deps=False
            ),
            profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=dbt_project / "profiles.yml"),
            execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV),
            render_config=RenderConfig(load_method=LoadMode.DBT_LS),
            operator_args=DBT_1.arguments,
        )
    kept = published_build(caches.environments_for_parsing())
    outcome = cosmos_run_dag(dag)

    assert set(dag.task_ids) == {"tide", "dbt.piers_seed", "dbt.staging_run"}
    assert outcome.succeeded
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.sql("select * from staging").fetchall() == [("Monday", "North", 1)]
    # Tasks have had environments of their own, as ever.
    assert published_build(caches.environments_for_parsing()) == kept
    assert kept.is_relative_to(tmp_path / "cache" / "environments")
