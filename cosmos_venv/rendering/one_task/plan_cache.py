"""Cached plans, in which a worker finds the one task that it runs, however large the plan is.

A plan is cached as lines that are sorted by task id. A line holds all that is needed to make its task. A worker finds
the line by binary search.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from functools import cache
from mmap import mmap
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv.constants import NODE_CONFIG
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.read_limits import value_of
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.model import Plan, PlannedGroup, PlannedTask, upstream_of
from cosmos_venv.rendering.task_arguments import project_name
from cosmos_venv.version import __version__

_FORMAT = 1  # of the lines, which workers of another release may find
_PLANNING = ("cosmos_venv/config/", "cosmos_venv/project/", "cosmos_venv/rendering/")
_ONLY_FOR_LOADING = frozenset(
    {
        "load_method",
        "dbt_ls_path",
        "project_path",
        "dbt_executable_path",
        "invocation_mode",
        "env_vars",
        "enable_mock_profile",
        "dbt_deps",
        "emit_datasets",
        "airflow_vars_to_purge_dbt_ls_cache",
        "airflow_vars_to_purge_dbt_yaml_selectors_cache",
        "run_artifacts",
        "notify_owners",
    }
)
"""Fields of RenderConfig that do not change the plan, or that ``plan_key`` adds by itself."""


class KeptTask(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One task of a plan, with what is needed to make it alone.

    :param task: the task.
    :param groups: the groups that it stands in, from the outermost.
    :param upstream: ids of the tasks right before it.
    :param downstream: ids of the tasks right after it.
    """

    task: PlannedTask
    groups: tuple[PlannedGroup, ...]
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]


def plan_key(configuration: Configuration, version: str | None) -> str | None:
    """The key of a plan: 64 hex digits that differ where the plan may differ; None where that cannot be known.

    All workers with the same wheel and the same project get the same key, whatever the version of the bundle.

    :param configuration: the configuration of the plan.
    :param version: ``DbtGraph.version``; None: it cannot be known.
    """
    render, execution = configuration.render, configuration.execution
    hooks = (render.node_converters, render.normalize_task_id, render.normalize_task_display_name)
    if version is None or any(hooks):  # the user's functions may return something else without a change of the key
        return None
    drawing = {
        field.name: getattr(render, field.name) for field in fields(render) if field.name not in _ONLY_FOR_LOADING
    }
    matters = [
        _FORMAT,
        __version__,
        _code(),
        version,
        drawing,
        render.has_last_task,
        bool(render.notify_owners),
        execution.execution_mode,
        execution.dbt_mode(configuration.operator_args),
        execution.producer_dbt_mode(configuration.operator_args),
        execution.test_indirect_selection,
        configuration.operator_args.get("exclude"),
        project_name(render, execution, configuration.project),
        msgspec.structs.asdict(configuration.planning_settings()),
    ]
    try:
        return hashlib.sha256(json.dumps(matters, default=_as_text, sort_keys=True).encode()).hexdigest()
    except TypeError:
        return None


@cache
def _code() -> str:
    """A text that differs where the code that loads and plans may differ. An editable install changes without a new
    version.

    To read all of the code took 2 ms of each parse for a task. A wheel has the hashes of its files in ``RECORD``, the
    same on every machine. For an editable install, sizes and times of the files are compared.
    """
    package = Path(__file__).parents[2]
    record = package.with_name(f"{package.name}-{__version__}.dist-info") / "RECORD"
    if record.is_file():
        lines = record.read_text(encoding="utf-8").splitlines()
        facts = [line for line in lines if line.startswith(_PLANNING) and ".py," in line]
    else:
        files = [file for folder in _PLANNING for file in (package.parent / folder).rglob("*.py")]
        facts = [f"{file} {(status := file.stat()).st_size} {status.st_mtime_ns}" for file in files]
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()


def _as_text(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{value!r} is no plain value")


def keep(kept: FileCache, key: str, plan: Plan, project_dir: Path) -> None:
    """Keep a plan. Best effort: a plan that cannot be written is not kept.

    :param kept: the files of plans.
    :param key: of ``plan_key``.
    :param plan: the plan.
    :param project_dir: folder of the project that was planned. Paths below it are kept relative to it, since another
        worker may have the project in another folder.
    """
    upstream = upstream_of(plan)
    downstream: dict[str, list[str]] = {}
    for before, after in plan.edges:
        downstream.setdefault(before, []).append(after)
    groups = {group.group_id: group for group in plan.groups}

    below = f"{project_dir}{os.sep}"

    def line(task: PlannedTask) -> bytes:
        entry = KeptTask(
            task=_with_file(task, lambda path: path.removeprefix(below)),
            groups=_chain(task.group, groups),
            upstream=tuple(upstream.get(task.task_id, ())),
            downstream=tuple(downstream.get(task.task_id, ())),
        )
        return b"%b\t%b\n" % (task.task_id.encode(), msgspec.json.encode(entry))

    # Written line by line: together the lines are as large as the manifest.
    kept.write(key, map(line, sorted(plan.tasks, key=lambda task: task.task_id.encode())))


def _chain(group_id: str | None, groups: dict[str, PlannedGroup]) -> tuple[PlannedGroup, ...]:
    found: list[PlannedGroup] = []
    while group_id is not None:
        found.append(groups[group_id])
        group_id = groups[group_id].parent
    return tuple(found[::-1])


def _with_file(task: PlannedTask, change: Callable[[str], str]) -> PlannedTask:
    node = task.context.get(NODE_CONFIG)
    if not node:
        return task
    context = {**task.context, NODE_CONFIG: {**node, "file_path": change(node["file_path"])}}
    return msgspec.structs.replace(task, context=context)


def find(kept: FileCache, key: str, task_id: str, project_dir: Path) -> KeptTask | None:
    """One task of a plan that is kept; None where there is no such plan, or no such task in it.

    :param kept: the files of plans.
    :param key: of ``plan_key``.
    :param task_id: the id in the plan, without the id of the ``DbtTaskGroup`` around the project.
    :param project_dir: folder of the project on this machine.
    """
    lines = kept.mapped(key)
    if lines is None:
        return None
    with lines:
        entry = _look_up(lines, task_id.encode())
    if (found := value_of(entry, KeptTask)) is None:
        return None
    try:
        return msgspec.structs.replace(found, task=_with_file(found.task, lambda path: str(project_dir / path)))
    except (KeyError, TypeError):  # the plan of another release
        return None


def _look_up(lines: mmap, key: bytes) -> bytes | None:
    low, high = 0, len(lines)
    while low < high:
        start = lines.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = lines.find(b"\n", start)
        found, _, entry = lines[start : end if end >= 0 else high].partition(b"\t")
        if found == key:
            return entry
        if found < key:
            low = start + len(found) + 1 + len(entry) + 1
        else:
            high = start
    return None
