"""Cosmos's configuration classes, as far as seeds need them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pytest_cosmos_venv.seeds.standin.constants import (
    ExecutionMode,
    LoadMode,
    SeedRenderingBehavior,
    TestBehavior,
)
from tests.pytest_cosmos_venv.seeds.standin.exceptions import CosmosValueError
from tests.pytest_cosmos_venv.seeds.standin.faults import has


@dataclass
class ProjectConfig:
    """The place of the dbt project."""

    dbt_project_path: Path
    manifest_path: Path | None = None


@dataclass
class ProfileConfig:
    """The profile that dbt takes."""

    profile_name: str
    target_name: str
    profiles_yml_filepath: Path


@dataclass
class ExecutionConfig:
    """The settings with which dbt is run."""

    execution_mode: Any = ExecutionMode.LOCAL
    dbt_executable_path: str | None = None
    invocation_mode: Any = None
    virtualenv_dir: Path | None = None
    async_py_requirements: Any = None


@dataclass
class RenderConfig:
    """The settings with which the project becomes tasks."""

    load_method: Any = LoadMode.DBT_LS
    seed_rendering_behavior: Any = SeedRenderingBehavior.ALWAYS
    test_behavior: Any = TestBehavior.AFTER_EACH
    dbt_executable_path: str | None = None
    invocation_mode: Any = None
    select: Any = ()

    def __post_init__(self) -> None:
        if has("default is when_seed_changes") and self.seed_rendering_behavior is SeedRenderingBehavior.ALWAYS:
            self.seed_rendering_behavior = SeedRenderingBehavior.WHEN_SEED_CHANGES
        if has("build is not refused"):
            return
        if self.remembers and self.test_behavior is TestBehavior.BUILD:
            raise CosmosValueError(f"{self.seed_rendering_behavior} does not go with {self.test_behavior}.")

    @property
    def remembers(self) -> bool:
        """Whether seeds are loaded when they have changed only."""
        return self.seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES


def check_mode(execution: ExecutionConfig, render: RenderConfig) -> None:
    """Refuse modes in which nobody could tell whether a seed has changed."""
    is_known = execution.execution_mode in (
        ExecutionMode.LOCAL,
        ExecutionMode.VIRTUALENV,
        ExecutionMode.AIRFLOW_ASYNC,
    )
    is_fine = (is_known and not has("every mode is refused")) or has("no mode is refused")
    if render.remembers and not is_fine:
        mode = "this mode" if has("refusals name no mode") else execution.execution_mode
        raise CosmosValueError(f"{render.seed_rendering_behavior} does not go with {mode}.")
