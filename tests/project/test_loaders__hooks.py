"""Hooks of a project are named where a DAG is built whose models run none of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.project.graph import DbtGraph

DATA = Path(__file__).parent.parent / "data" / "bigquery"
HOOK = "operation.shop.shop-on-run-end-0"


@pytest.mark.parametrize(
    ("mode", "hook", "select", "warnings"),
    [
        pytest.param(ExecutionMode.AIRFLOW_ASYNC, HOOK, "+orders", 1, id="models"),
        pytest.param(ExecutionMode.AIRFLOW_ASYNC, HOOK, "raw_orders", 0, id="seeds-alone"),
        pytest.param(ExecutionMode.AIRFLOW_ASYNC, None, "+orders", 0, id="no-hooks"),
        pytest.param(ExecutionMode.WATCHER, HOOK, "+orders", 0, id="a-mode-that-runs-them"),
    ],
)
def test_hooks_that_no_model_runs_are_named_once(
    mode: ExecutionMode,
    hook: str | None,
    select: str,
    warnings: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    manifest = json.loads((DATA / "manifest.json").read_text())
    if hook:
        entry = {"resource_type": "operation", "name": hook.rpartition(".")[2], "original_file_path": "dbt_project.yml"}
        manifest["nodes"][hook] = {**manifest["nodes"]["model.shop.orders"], **entry, "unique_id": hook}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    graph = DbtGraph(
        ProjectConfig(DATA / "project", manifest_path=tmp_path / "manifest.json"),
        RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=[select]),
        ExecutionConfig(mode),
    )

    graph.load()

    said = [each.getMessage() for each in caplog.records if "hooks of the project" in each.getMessage()]
    assert len(said) == warnings
    assert all(HOOK in each for each in said)
