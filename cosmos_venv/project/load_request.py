"""Which environment variables does dbt see when a project is loaded, and which artifacts of other runs do they name?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmos_venv.project.graph import DbtGraph

# dbt's own names, the newer first, which counts where both are set.
_STATE = ("DBT_ENGINE_STATE", "DBT_STATE")
_DEFERRED_STATE = ("DBT_ENGINE_DEFER_STATE", "DBT_DEFER_STATE")


def given_env_vars(graph: DbtGraph) -> Mapping[str, str]:
    """Those of the configuration."""
    return {name: str(value) for name, value in (graph.render_config.env_vars or graph.project.env_vars or {}).items()}


def environment_of(graph: DbtGraph) -> dict[str, str]:
    """Those of this process, and over them those of the configuration."""
    return {**os.environ, **given_env_vars(graph)}


def state_folder(project_dir: Path, environment: Mapping[str, str]) -> Path | None:
    """Where the artifacts are that a selection compares with: dbt's own variable names the folder."""
    return next(iter(_named(_STATE, project_dir, environment)), None)


def state_folders(project_dir: Path, environment: Mapping[str, str]) -> list[Path]:
    """The same, and where those are to which dbt defers: all from which its answer may come."""
    return _named((*_STATE, *_DEFERRED_STATE), project_dir, environment)


def _named(names: Iterable[str], project_dir: Path, environment: Mapping[str, str]) -> list[Path]:
    return [project_dir / environment[name] for name in names if environment.get(name)]
