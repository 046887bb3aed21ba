"""Builds the DAG of a recorded configuration, and says of it what the recording says of Cosmos's.

See tests/data/README.md. The Python of Airflow 2 imports this file too: it has no pytest.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any
from unittest import mock

from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig, constants
from cosmos_venv.compat import DAG, BaseOperator, EmptyOperator, TaskGroup
from cosmos_venv.constants import TASK_TESTS, DbtResourceType
from cosmos_venv.profiles.duckdb import DuckDBUserPasswordProfileMapping

DATA = Path(__file__).parent.parent / "data"
PROJECT = DATA / "rendering-project"
CASES: list[dict[str, Any]] = json.loads((DATA / "rendering-cases.json").read_text())["cases"]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

# The attributes that were recorded, with the value that was not written down.
PLAIN: dict[str, Any] = {
    "owner": "airflow",
    "select": None,
    "exclude": None,
    "selector": None,
    "models": None,
    "indirect_selection": None,
    "vars": None,
    "env": None,
    "pool": "default_pool",
    "queue": "default",
    "retries": 0,
    "trigger_rule": "all_success",
    "weight_rule": "downstream",
    "priority_weight": 1,
    "emit_datasets": True,
    "full_refresh": False,
    "dbt_cmd_flags": [],
    "fail_fast": False,
    "partial_parse": True,
    "invocation_mode": None,
    "depends_on_past": False,
    "wait_for_downstream": False,
    "append_env": True,
    "log_format": None,
    "project_dir": "{project}",
}
ALWAYS_RECORDED = ("py_requirements", "virtualenv_dir")
# Cosmos looks for packages while it builds the DAG, here the running task does; where there are some they must agree.
OF_PACKAGES: dict[str, Any] = {"install_deps": False, "copy_dbt_packages": False}


class Hooks:
    """The functions that the recordings name with ``hook:``."""

    def __init__(self) -> None:
        self.converter_arguments: set[str] = set()

    def shout_id(self, node: Any) -> str:
        return f"ID_{node.name.upper()}"

    def nice_name(self, node: Any) -> str:
        return f"Nice {node.name.replace('_', ' ')}"

    def to_empty(self, **given: Any) -> BaseOperator:
        self.converter_arguments |= set(given)
        return EmptyOperator(task_id=f"conv_{given['task_id']}", dag=given["dag"], task_group=given["task_group"])

    def to_nothing(self, **_: Any) -> None:
        return None

    def hook_on_warning(self, _: Any) -> None:
        return None


@dataclass
class Built:
    """:param host: the DbtDag, or the DbtTaskGroup in a plain DAG."""

    case: dict[str, Any]
    dag: DAG
    host: Any
    folder: Path
    scratch: Path
    hooks: Hooks
    warnings: set[str] = field(default_factory=set)

    @property
    def tasks(self) -> dict[str, Any]:
        return {task.task_id: task for task in self.dag.tasks}

    @property
    def operators(self) -> dict[str, str]:
        paths = {key: f"{type(task).__module__}.{type(task).__name__}" for key, task in self.tasks.items()}
        return {key: path.replace("cosmos_venv.", "{impl}.") for key, path in paths.items()}

    @property
    def edges(self) -> list[list[str]]:
        return sorted([key, after] for key, task in self.tasks.items() for after in task.downstream_task_ids)

    @property
    def groups(self) -> list[str]:
        return sorted(str(group.group_id) for group in _groups_below(self.dag.task_group))

    @property
    def tasks_map(self) -> dict[str, str]:
        found = self.host.tasks_map.items()
        return {key: str(each.group_id) if isinstance(each, TaskGroup) else each.task_id for key, each in found}

    @property
    def tests_per_model(self) -> dict[str, list[str]]:
        return {key: sorted(tests) for key, tests in sorted(self.host.dbt_graph.tests_per_model.items())}

    @property
    def filtered_nodes(self) -> list[str]:
        return sorted(self.host.dbt_graph.filtered_nodes)

    @property
    def attributes(self) -> dict[str, dict[str, Any]]:
        return {key: self._attributes_of(task) for key, task in self.tasks.items()}

    def _attributes_of(self, task: Any) -> dict[str, Any]:
        plain = {**PLAIN, **(OF_PACKAGES if self._has_packages else {})}
        given: dict[str, Any] = {name: self._plain(getattr(task, name)) for name in plain if hasattr(task, name)}
        # What says nothing is written as {} or None by one, as a default by the other.
        shown = {name: value for name, value in given.items() if value != plain[name] and value not in (None, {})}
        shown |= {name: self._plain(getattr(task, name)) for name in ALWAYS_RECORDED if hasattr(task, name)}
        if task.task_display_name != task.task_id:
            shown["task_display_name"] = task.task_display_name
        if hasattr(task, "profile_config"):
            shown["profile"] = [task.profile_config.profile_name, task.profile_config.target_name]
        # Cosmos has no unique ids of tests in the context.
        context = {name: value for name, value in getattr(task, "extra_context", {}).items() if name != TASK_TESTS}
        if context:
            shown["extra_context"] = _told(context)
        if getattr(task, "on_warning_callback", None) is not None:
            shown["on_warning_callback"] = task.on_warning_callback.__name__
        if task.outlets:
            shown["outlets"] = task.outlets
        return shown

    @property
    def _has_packages(self) -> bool:
        files = self.case["config"].get("files", {})
        return any(files.get(name) for name in ("packages.yml", "dependencies.yml"))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, str | Path):
            return str(value).replace(str(self.folder), "{project}").replace(str(self.scratch), "{scratch}")
        if isinstance(value, Mapping):
            return {key: self._plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(each) for each in value]
        return value.total_seconds() if isinstance(value, timedelta) else value


def _told(context: Mapping[str, Any]) -> dict[str, Any]:
    node = context.get("dbt_node_config") or {}
    told: dict[str, Any] = {"keys": sorted(context), "node": node.get("unique_id")}
    if "dbt_dag_task_group_identifier" in context:
        told["identifier"] = context["dbt_dag_task_group_identifier"]
    return told


def _groups_below(group: TaskGroup) -> Iterator[TaskGroup]:
    for child in group.children.values():
        if isinstance(child, TaskGroup):
            yield child
            yield from _groups_below(child)


def name_of(case: dict[str, Any]) -> str:
    """The case's name, the id of a test's parameter."""
    return str(case["name"])


def build(case: dict[str, Any], scratch: Path) -> Built:
    """The DAG of the case.

    :raises Exception: what the configuration is refused with.
    """
    # An excluded test leaves a task to its node in Cosmos, with which this is compared.
    with mock.patch.dict(os.environ, AIRFLOW__COSMOS_VENV__KEEP_EXCLUDED_TESTS="True"):
        return _build(case, scratch)


def _build(case: dict[str, Any], scratch: Path) -> Built:
    config, hooks = case["config"], Hooks()
    folder = _project(config, scratch)

    def given(key: str) -> dict[str, Any]:
        return {name: _value(value, folder, scratch, hooks) for name, value in config.get(key, {}).items()}

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arguments: dict[str, Any] = {
            "project_config": ProjectConfig(
                **{"dbt_project_path": folder, "manifest_path": folder / "manifest.json", **given("project")}
            ),
            "profile_config": _profile(config.get("profile"), folder),
            "execution_config": ExecutionConfig(**given("execution")),
            "render_config": RenderConfig(**given("render"), allow_empty_selection=True),
            "operator_args": given("operator_args"),
            **given("extra"),
        }
        dag, host = _built(config["entry"], arguments)
    ours = {each.category.__name__ for each in caught if each.filename == __file__ or "cosmos_venv" in each.filename}
    return Built(case, dag, host, folder, scratch, hooks, ours)


def _built(entry: str, arguments: dict[str, Any]) -> tuple[DAG, Any]:
    if entry == "DbtDag":
        dag = DbtDag(dag_id="cases", schedule=None, start_date=START, **arguments)
        return dag, dag
    with DAG("cases", schedule=None, start_date=START) as outer:
        before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
        group = DbtTaskGroup(**arguments)
        before >> group >> after
    return outer, group


def _project(config: dict[str, Any], scratch: Path) -> Path:
    """The project itself, or a copy with more files, or with entries merged over those of its manifest."""
    if not config.get("patch") and not config.get("files"):
        return PROJECT
    folder = scratch / PROJECT.name
    shutil.copytree(PROJECT, folder)
    for name, text in config.get("files", {}).items():
        (folder / name).write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    for unique_id, change in config.get("patch", {}).items():
        section = next((key for key in ("nodes", "sources", "exposures") if unique_id in manifest[key]), "nodes")
        manifest[section][unique_id] = _merged(manifest[section].get(unique_id, {}), change)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return new


def _value(value: Any, folder: Path, scratch: Path, hooks: Hooks) -> Any:
    """The recordings write enum members, hooks, and paths of the project or of a temporary folder as text."""
    if isinstance(value, dict):
        return {
            _value(key, folder, scratch, hooks): _value(each, folder, scratch, hooks) for key, each in value.items()
        }
    if not isinstance(value, str):
        return value
    kind, _, rest = value.partition(":")
    if kind in ("path", "tmp"):
        return {"path": folder, "tmp": scratch}[kind] / rest
    if kind == "hook":
        return getattr(hooks, {"on_warning": "hook_on_warning"}.get(rest, rest))
    if kind == "resource":
        return DbtResourceType(rest)
    enum, _, name = value.partition(".")
    return getattr(constants, enum)[name] if hasattr(constants, enum) else value


def _profile(how: str | None, folder: Path) -> ProfileConfig | None:
    if how is None:
        return None
    own_file = {"yml": "profiles.yml", "absent": "absent.yml", "both": "profiles.yml"}.get(how)
    return ProfileConfig(
        profile_name="harbor",
        target_name="dev",
        profiles_yml_filepath=folder / own_file if own_file else None,
        profile_mapping=DuckDBUserPasswordProfileMapping("harbor") if how in ("both", "mapping") else None,
    )
