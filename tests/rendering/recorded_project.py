"""The recorded project as a DAG that is loaded from its manifest: nothing is installed or started."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG
from tests.kit import harbor_profile

RECORDED = Path(__file__).resolve().parents[1] / "data" / "rendering-project"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def copy_of_project(folder: Path) -> Path:
    """Copy the files of the recorded project that are read when it is loaded from its manifest."""
    (folder / "models").mkdir(parents=True)
    for name in ("dbt_project.yml", "manifest.json", "profiles.yml"):
        shutil.copy(RECORDED / name, folder)
    return folder


def edit_node(project: Path, unique_id: str, *, meta: dict[str, Any] | None = None, **entries: Any) -> None:
    """Change what the manifest says of a node: entries, and the ``meta`` of its configuration (None: leave it)."""
    manifest = json.loads((project / "manifest.json").read_text())
    node = manifest["nodes"][unique_id]
    node.update(entries)
    if meta is not None:
        node["config"]["meta"] = meta
    (project / "manifest.json").write_text(json.dumps(manifest))


def manifest_arguments(project: Path, *, render: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the arguments of a DAG or group in virtualenv mode, with ``more`` beside or instead of them.

    :param render: arguments of RenderConfig beside the load mode.
    """
    return {
        "project_config": ProjectConfig(project, manifest_path=project / "manifest.json"),
        "profile_config": harbor_profile(project),
        "execution_config": ExecutionConfig(ExecutionMode.VIRTUALENV),
        "render_config": RenderConfig(load_method=LoadMode.DBT_MANIFEST, **render or {}),
        "operator_args": {"py_requirements": ["dbt-duckdb"]},
        **more,
    }


def dag_of(project: Path, **arguments: Any) -> DbtDag:
    """Return the DAG ``harbor``, which is made of ``manifest_arguments`` and those of the DAG itself."""
    return DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments(project, **arguments))


def edges_of(dag: DAG) -> set[tuple[str, str]]:
    """Return the ids of every task and of each that comes after it."""
    return {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}
