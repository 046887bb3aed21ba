"""Run dbt projects as Airflow DAGs, each with its own dbt in a managed virtual environment.

The names below are imported when they are first used: the DAG processor and every task import this module, and most
need one or two of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
    from cosmos_venv.constants import (
        DbtResourceType,
        ExecutionMode,
        InvocationMode,
        LoadMode,
        SeedRenderingBehavior,
        SourceRenderingBehavior,
        TestBehavior,
        TestIndirectSelection,
    )
    from cosmos_venv.dag import DbtDag, DbtTaskGroup
    from cosmos_venv.operators.local import (
        DbtBuildLocalOperator,
        DbtLSLocalOperator,
        DbtRunLocalOperator,
        DbtSeedLocalOperator,
        DbtSnapshotLocalOperator,
        DbtTestLocalOperator,
    )

_HOMES = {
    "DbtDag": "dag",
    "DbtTaskGroup": "dag",
    "ExecutionConfig": "config",
    "ProfileConfig": "config",
    "ProjectConfig": "config",
    "RenderConfig": "config",
    "DbtResourceType": "constants",
    "ExecutionMode": "constants",
    "InvocationMode": "constants",
    "LoadMode": "constants",
    "SeedRenderingBehavior": "constants",
    "SourceRenderingBehavior": "constants",
    "TestBehavior": "constants",
    "TestIndirectSelection": "constants",
    "DbtBuildLocalOperator": "operators.local",
    "DbtLSLocalOperator": "operators.local",
    "DbtRunLocalOperator": "operators.local",
    "DbtSeedLocalOperator": "operators.local",
    "DbtSnapshotLocalOperator": "operators.local",
    "DbtTestLocalOperator": "operators.local",
}
# Cosmos has them at its top level too; someone who moves a DAG is told so instead of "cannot import name".
_COSMOS_OPERATOR_SUFFIXES = (
    *("LocalOperator", "DockerOperator", "KubernetesOperator", "AzureContainerInstanceOperator"),
    *("AwsEksOperator", "AwsEcsOperator", "GcpCloudRunJobOperator"),
)

__all__ = [
    "DbtBuildLocalOperator",
    "DbtDag",
    "DbtLSLocalOperator",
    "DbtResourceType",
    "DbtRunLocalOperator",
    "DbtSeedLocalOperator",
    "DbtSnapshotLocalOperator",
    "DbtTaskGroup",
    "DbtTestLocalOperator",
    "ExecutionConfig",
    "ExecutionMode",
    "InvocationMode",
    "LoadMode",
    "ProfileConfig",
    "ProjectConfig",
    "RenderConfig",
    "SeedRenderingBehavior",
    "SourceRenderingBehavior",
    "TestBehavior",
    "TestIndirectSelection",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is not None:
        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value
    if name == "MissingPackage" or (name.startswith("Dbt") and name.endswith(_COSMOS_OPERATOR_SUFFIXES)):
        raise ImportError(f"cosmos-venv {__version__} does not have {name}. It has {', '.join(sorted(_HOMES))}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
