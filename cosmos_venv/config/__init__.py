"""The configurations that users write: where the project is, how dbt reaches the warehouse, how dbt runs, how the DAG
is drawn.

Parameters, their order and their defaults are Cosmos's, and so are the enums that can be imported from here. A wrong
value is refused when the object is made, with a ``CosmosValueError`` that names the value and the way out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.config.execution import ExecutionConfig
from cosmos_venv.config.profile import ProfileConfig, ProfileMapping
from cosmos_venv.config.project import ProjectConfig
from cosmos_venv.config.render import RenderConfig
from cosmos_venv.constants import (
    DbtResourceType,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.exceptions import CosmosConfigException
from cosmos_venv.public_names import name_lookup

__all__ = [
    "CosmosConfigException",
    "DbtResourceType",
    "ExecutionConfig",
    "ExecutionMode",
    "InvocationMode",
    "LoadMode",
    "ProfileConfig",
    "ProfileMapping",
    "ProjectConfig",
    "RenderConfig",
    "TestBehavior",
    "TestIndirectSelection",
]

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
