"""dbt ls in virtualenv mode, where tasks keep no environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.managed import caches
from cosmos_venv.project.graph import DbtGraph
from pytest_cosmos_venv import CosmosDbt
from tests.kit import harbor_profile, published_build


def load(project: Path, **operator_args: Any) -> DbtGraph:
    graph = DbtGraph(
        project=ProjectConfig(project, install_dbt_deps=False),
        profile_config=harbor_profile(project),
        execution_config=ExecutionConfig(ExecutionMode.VIRTUALENV),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        operator_args={"py_requirements": ["dbt-duckdb"], **operator_args},
    )
    graph.load()
    return graph


def test_dbt_ls_of_tasks_that_keep_no_environment_has_one_that_is_kept_where_its_answers_are(
    cosmos_dbt: CosmosDbt, dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__ENABLE_CACHE_DBT_LS", "False")

    first = load(dbt_project)
    build = published_build(tmp_path / "cache" / "environments")
    load(dbt_project, virtualenv_dir=tmp_path / "own", is_virtualenv_dir_temporary=True)
    load(dbt_project, virtualenv_dir="{{ var.value.environments }}")
    load(dbt_project, virtualenv_dir=tmp_path / "own", is_virtualenv_dir_temporary="{{ params.fresh }}")

    assert first.nodes
    assert published_build(caches.environments_for_parsing()) == build
    assert len(cosmos_dbt.calls) == 4
    assert not (tmp_path / "own").exists()
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
