"""A small implementation with Cosmos's import layout, for the toolkit's own tests: its seeds do what the page says.

It can be given faults, one by one, so that it can be shown which scenario finds which.
"""

from __future__ import annotations

from tests.pytest_cosmos_venv.seeds.standin.configs import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from tests.pytest_cosmos_venv.seeds.standin.constants import LoadMode, SeedRenderingBehavior
from tests.pytest_cosmos_venv.seeds.standin.rendering import DbtDag, DbtTaskGroup

__all__ = [
    "DbtDag",
    "DbtTaskGroup",
    "ExecutionConfig",
    "LoadMode",
    "ProfileConfig",
    "ProjectConfig",
    "RenderConfig",
    "SeedRenderingBehavior",
]
