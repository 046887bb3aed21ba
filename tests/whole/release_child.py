"""One process of a user with either release of cosmos-venv: it builds a DAG and executes tasks of it.

Called with what is to be done, in JSON; what came of it is JSON after the word ``RESULT``. What it uses of cosmos-venv
both releases offer.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def main() -> None:
    """Build the DAG of ``project`` with ``execution``, ``render``, ``operator_args``, and execute ``tasks`` of it."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    with ExitStack() as stack:
        if asked["seeds"] == "when_seed_changes":
            # Not above: the toolkit needs pytest, which the Python of Airflow 2 does not have.
            from tests.operators.file_variables import variables_below

            stack.enter_context(variables_below(Path(asked["variables"])))
        print("RESULT", json.dumps(_done(asked)), flush=True)


def _done(asked: dict[str, Any]) -> dict[str, Any]:
    from cosmos_venv import (
        DbtDag,
        ExecutionConfig,
        ExecutionMode,
        LoadMode,
        ProfileConfig,
        ProjectConfig,
        RenderConfig,
        SeedRenderingBehavior,
        TestBehavior,
        __file__,
    )

    if asked.get("is_worker"):
        _be_a_worker(*asked["tasks"])
    project, execution, render = Path(asked["project"]), dict(asked["execution"]), dict(asked["render"])
    dag = DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
        execution_config=ExecutionConfig(ExecutionMode(execution.pop("mode")), **execution),
        render_config=RenderConfig(
            load_method=LoadMode(render.pop("load_method")),
            test_behavior=TestBehavior.NONE,
            seed_rendering_behavior=SeedRenderingBehavior(asked["seeds"]),
            **render,
        ),
        operator_args=asked.get("operator_args", {}),
    )
    return {
        "package": str(Path(__file__).parent),
        "task_ids": sorted(dict.keys(dag.task_dict)),  # asking otherwise may have the rest made
        "tasks": {task_id: _executed(dag.task_dict[task_id], asked["run_id"]) for task_id in asked["tasks"]},
    }


def _be_a_worker(task_id: str) -> None:
    """Be a process in which Airflow's supervisor parses a DAG file for one task."""
    from airflow.sdk.execution_time import task_runner

    task_runner.SUPERVISOR_COMMS = object()  # type: ignore[assignment] # there is none
    os.environ |= {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "harbor", "_AIRFLOW_PARSING_CONTEXT_TASK_ID": task_id}


def _executed(task: Any, run_id: str) -> str:
    try:
        task.execute({"run_id": run_id})
    except Exception as error:  # noqa: BLE001 - it is told
        return f"{type(error).__name__}: {error}"
    return "success"


if __name__ == "__main__":
    main()
