"""Run dbt projects as Airflow DAGs, each with its own dbt in a managed virtual environment.

The names below are imported when they are first used: the DAG processor and every task import this module, and most
need one or two of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

# Checked before the imports that need POSIX: "No module named 'fcntl'" tells nobody what to do.
if sys.platform in ("win32", "cygwin"):
    raise ImportError(
        "cosmos-venv runs on Linux, and on macOS as far as possible: it needs locks, signals and process groups of "
        f"POSIX, which {sys.platform} has not. Run it in WSL 2 or in a container, as Airflow itself."
    )

from cosmos_venv.public_names import name_lookup
from cosmos_venv.version import __version__

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
        DbtCloneLocalOperator,
        DbtDepsLocalOperator,
        DbtLSLocalOperator,
        DbtRunLocalOperator,
        DbtRunOperationLocalOperator,
        DbtSeedLocalOperator,
        DbtSnapshotLocalOperator,
        DbtTestLocalOperator,
    )
    from cosmos_venv.project_dags import DbtProjectDags

__all__ = [
    "DbtBuildLocalOperator",
    "DbtCloneLocalOperator",
    "DbtDag",
    "DbtDepsLocalOperator",
    "DbtLSLocalOperator",
    "DbtProjectDags",
    "DbtResourceType",
    "DbtRunLocalOperator",
    "DbtRunOperationLocalOperator",
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

_HOMES = {"Config": "config", "Dag": "dag", "Dags": "project_dags", "Group": "dag", "Operator": "operators.local"}
"""The end of a public name -> the module that has it. All others are enums, which stand in ``constants``."""


_MODULES = ("config", "constants", "io", "operators", "profiles")
"""The modules that are there after ``import cosmos_venv``, as with Cosmos; each is imported when it is first used."""


def _home_of(name: str) -> str:
    module = next((home for end, home in _HOMES.items() if name.endswith(end)), "constants")
    return f"{__name__}.{module}:{name}"


if not TYPE_CHECKING:
    __getattr__ = name_lookup(
        __name__,
        {
            **{name: _home_of(name) for name in __all__ if name != "__version__"},
            **{name: f"{__name__}.{name}:" for name in _MODULES},
        },
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
