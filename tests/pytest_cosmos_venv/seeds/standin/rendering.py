"""A project as tasks: a DbtDag, or a DbtTaskGroup in the DAG around it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

from tests.pytest_cosmos_venv.seeds.standin.configs import (
    ExecutionConfig,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
    check_mode,
)
from tests.pytest_cosmos_venv.seeds.standin.constants import (
    ExecutionMode,
    LoadMode,
    SeedRenderingBehavior,
    TestBehavior,
)
from tests.pytest_cosmos_venv.seeds.standin.faults import has
from tests.pytest_cosmos_venv.seeds.standin.memory import Memory
from tests.pytest_cosmos_venv.seeds.standin.operators import DbtOperator, DbtSeedOperator, Target, installed_dbt


class DbtDag(DAG):
    """A DAG that is one dbt project."""

    def __init__(self, *, dag_id: str, schedule: Any, start_date: Any, **configs: Any) -> None:
        super().__init__(dag_id=dag_id, schedule=schedule, start_date=start_date)
        with self:
            _Renderer(dag_id=dag_id, group_id="", **configs).render()


class DbtTaskGroup(TaskGroup):
    """A group of tasks that is one dbt project."""

    def __init__(self, *, group_id: str, **configs: Any) -> None:
        super().__init__(group_id=group_id)
        with self:
            _Renderer(dag_id=self.dag.dag_id, group_id=str(self.group_id), **configs).render()


@dataclass
class _Renderer:
    dag_id: str
    group_id: str
    project_config: ProjectConfig
    profile_config: ProfileConfig
    execution_config: ExecutionConfig
    render_config: RenderConfig
    operator_args: Mapping[str, Any]

    def render(self) -> None:
        check_mode(self.execution_config, self.render_config)
        if self.execution_config.execution_mode is ExecutionMode.WATCHER:
            EmptyOperator(task_id="dbt_producer_watcher")
        nodes = self._nodes()
        ends: dict[str, tuple[Any, Any]] = {}
        for unique_id in sorted(nodes):
            if nodes[unique_id]["resource_type"] in ("seed", "model"):
                rendered = self._render(unique_id, nodes[unique_id], nodes)
                ends.update({unique_id: rendered} if rendered else {})
        for unique_id in ends:
            for parent in nodes[unique_id]["depends_on"].get("nodes", []):
                if parent in ends and not self._drops_edge(nodes[parent]):
                    ends[parent][1] >> ends[unique_id][0]

    def _drops_edge(self, parent: Any) -> bool:
        is_shown = self.render_config.seed_rendering_behavior is SeedRenderingBehavior.RENDER_ONLY
        return has("render_only has no edges") and is_shown and parent["resource_type"] == "seed"

    def _render(self, unique_id: str, node: Any, nodes: Mapping[str, Any]) -> tuple[Any, Any] | None:
        name, kind = node["name"], node["resource_type"]
        tests = [one for one in nodes.values() if one["resource_type"] == "test"]
        is_tested = any(unique_id in test["depends_on"].get("nodes", []) for test in tests)
        behavior = self.render_config.seed_rendering_behavior
        if kind == "seed" and has("seeds are never rendered"):
            return None
        if kind == "seed" and behavior is SeedRenderingBehavior.NONE and not has("none is rendered"):
            if has("none leaves the test"):
                DbtOperator(task_id=f"{name}_test", command="test", target=self._target(name))
            return None
        if kind == "seed" and behavior is SeedRenderingBehavior.RENDER_ONLY and not has("render_only runs"):
            empty = EmptyOperator(task_id=f"{name}_seed")
            return empty, empty
        if self.render_config.test_behavior is TestBehavior.BUILD and not has("build runs dbt seed"):
            build = DbtOperator(task_id=f"{name}_{kind}_build", command="build", target=self._target(name))
            return build, build
        if self.render_config.test_behavior is not TestBehavior.AFTER_EACH or not is_tested:
            task = self._task(f"{name}_{'run' if kind == 'model' else kind}", unique_id, node)
            return task, task
        with TaskGroup(group_id=name):
            first = self._task("run" if kind == "model" else kind, unique_id, node)
            last = DbtOperator(task_id="test", command="test", target=self._target(name))
            first >> last
        return first, last

    def _task(self, task_id: str, unique_id: str, node: Any) -> Any:
        target = self._target(node["name"])
        if node["resource_type"] == "model":
            return DbtOperator(task_id=task_id, command="run", target=target)
        is_manifest = self.render_config.load_method is LoadMode.DBT_MANIFEST
        load = str(self.render_config.load_method)
        memory = Memory(self.dag_id, self.group_id, unique_id, load)
        return DbtSeedOperator(
            task_id=task_id,
            target=target,
            file=Path(self.project_config.dbt_project_path, node["original_file_path"]),
            memory=memory if self.render_config.remembers and not has("seeds always run") else None,
            in_manifest=node["checksum"]["checksum"] if is_manifest else None,
            full_refresh=bool(self.operator_args.get("full_refresh")),
        )

    def _target(self, name: str) -> Target:
        return Target(
            dbt=self._dbt,
            project=Path(self.project_config.dbt_project_path),
            profiles_dir=self.profile_config.profiles_yml_filepath.parent,
            select=name,
        )

    def _dbt(self) -> Path:
        execution = self.execution_config
        if execution.virtualenv_dir is None:
            return Path(str(execution.dbt_executable_path))
        requirements = self.operator_args["py_requirements"]
        return installed_dbt(execution.virtualenv_dir, requirements, self.operator_args["pip_install_options"])

    def _nodes(self) -> dict[str, Any]:
        if self.render_config.load_method is LoadMode.DBT_MANIFEST:
            assert self.project_config.manifest_path is not None
            nodes: dict[str, Any] = json.loads(self.project_config.manifest_path.read_text())["nodes"]
            return nodes
        words = [str(self._dbt()), "ls", "--output", "json", "--quiet"]
        words += ["--project-dir", str(self.project_config.dbt_project_path)]
        done = subprocess.run(words, env=dict(os.environ), check=True, capture_output=True, text=True)
        listed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return {node["unique_id"]: node for node in listed}
