"""Prints a dbt project as Airflow keeps its DAG. A script, so that processes can differ: ``FOLDER DBT``."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any

from cosmos_venv import (
    DbtDag,
    DbtTaskGroup,
    ExecutionConfig,
    ExecutionMode,
    LoadMode,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
    SourceRenderingBehavior,
)
from cosmos_venv.compat import DAG, EmptyOperator
from tests.rendering.serialised_dags import to_dict

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def main(folder: str) -> None:
    """A DAG of the project's own, and one with two groups that select parts of it."""
    profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=f"{folder}/profiles.yml")

    def dbt(**render: Any) -> dict[str, Any]:
        return {
            "project_config": ProjectConfig(folder, manifest_path=f"{folder}/manifest.json"),
            "profile_config": profile,
            "execution_config": ExecutionConfig(
                execution_mode=ExecutionMode.VIRTUALENV, dbt_executable_path="dbt", virtualenv_dir="/var/dbt"
            ),
            "render_config": RenderConfig(
                load_method=LoadMode.DBT_MANIFEST,
                emit_datasets=False,  # Airflow 2 would look for the aliases in its database
                **render,
            ),
            "operator_args": {"py_requirements": ["dbt-duckdb"]},
        }

    whole = DbtDag(
        dag_id="whole",
        schedule=None,
        start_date=START,
        **dbt(
            group_nodes_by_folder=True,
            should_detach_multiple_parents_tests=True,
            source_rendering_behavior=SourceRenderingBehavior.ALL,
        ),
    )
    with DAG("parts", schedule=None, start_date=START) as parts:
        marts = DbtTaskGroup("marts", **dbt(select=["path:models/marts", "+port_calls"], exclude=["tag:slow_test"]))
        staging = DbtTaskGroup("staging", **dbt(selector="only_marts"))
        EmptyOperator(task_id="pre") >> [marts, staging]
    print(json.dumps([to_dict(whole), to_dict(parts)], sort_keys=False))


if __name__ == "__main__":
    main(sys.argv[1])
