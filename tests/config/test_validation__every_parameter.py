"""Every parameter of the configuration is read by what loads, plans and runs."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import cosmos_venv
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

PACKAGE = Path(cosmos_venv.__file__).parent
CONFIGS: tuple[type, ...] = (ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig)
PARAMETERS = {f"{config.__name__}.{name}" for config in CONFIGS for name in inspect.signature(config).parameters}

# Where the attribute is not called like the parameter.
KEPT_AS = {
    "ExecutionConfig.dbt_project_path": "project_path",
    "ProjectConfig.dbt_project_conn_id": "address",
    "RenderConfig.dbt_project_path": "project_path",
}
# Each is documented at its class or in README.
WITHOUT_EFFECT = {
    "ProfileConfig.profiles_yml_filepath": "read by methods of its own class",
    "ProfileConfig.profile_mapping": "read by methods of its own class",
    "ProfileConfig.profile_name": "read by methods of its own class",
    "ProjectConfig.models_relative_path": "the deprecated name of models_relative_paths",
    "ProjectConfig.models_relative_paths": "read by validate_project: the folders must be there",
    "ProjectConfig.seeds_relative_path": "dbt goes by dbt_project.yml",
    "ProjectConfig.seeds_relative_paths": "dbt goes by dbt_project.yml",
    "ProjectConfig.snapshots_relative_path": "dbt goes by dbt_project.yml",
    "ProjectConfig.snapshots_relative_paths": "dbt goes by dbt_project.yml",
    "RenderConfig.airflow_vars_to_purge_dbt_yaml_selectors_cache": "selectors are read from the manifest each time",
    "RenderConfig.run_summary": "read by RenderConfig.has_last_task",
    "RenderConfig.invocation_mode": "dbt ls always runs as a process; the value allows dbt_executable_path",
}


@cache
def attributes_read() -> defaultdict[str, set[str]]:
    """Attributes of objects called like this that any module but those of the configuration reads: word -> names."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "config":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                holder = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
                found[holder.lstrip("_")].add(node.attr)
    return found


@pytest.mark.parametrize("parameter", sorted(PARAMETERS - set(WITHOUT_EFFECT)))
def test_a_parameter_is_read(parameter: str) -> None:
    owner, _, name = parameter.partition(".")

    short = owner.removesuffix("Config").lower()
    assert KEPT_AS.get(parameter, name) in attributes_read()[short] | attributes_read()[f"{short}_config"]


def test_the_tables_name_parameters_only() -> None:
    assert set(KEPT_AS) | set(WITHOUT_EFFECT) <= PARAMETERS
