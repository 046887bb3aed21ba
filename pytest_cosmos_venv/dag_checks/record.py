"""The record of one DAG file: the results of the process that imports the file, as JSON and as a frozen value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

CONNECTION, VARIABLE, NETWORK, PROCESS = "connection", "variable", "network", "process"
"""The kinds of side effects."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One side effect of importing a file.

    :param kind: ``connection``, ``variable``, ``network`` or ``process``.
    :param what: the side effect in words.
    :param where: files and lines, as ``side_effects.caller`` returns them.
    """

    kind: str
    what: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of a DAG.

    :param kind: the name of its operator's class.
    :param upstream: ids of the tasks that it waits for.
    :param node: unique id of its dbt node; None without a node, or with several.
    :param nodes: unique ids of its nodes, where the operator lists several; its dbt builds no other nodes.
    :param command: the command of dbt that it runs, such as ``run``; None where it runs none.
    :param exclude: names that its dbt leaves out.
    :param indirect_selection: dbt's flag of that name; None: dbt's default, ``eager``.
    :param outlets: URIs of the assets that it updates, as far as they are known when the file is parsed.
    :param emits: whether it adds assets when it runs.
    """

    kind: str
    upstream: Sequence[str]
    node: str | None
    nodes: Sequence[str]
    command: str | None
    exclude: Sequence[str]
    indirect_selection: str | None
    outlets: Sequence[str]
    emits: bool


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of a dbt project.

    :param kind: dbt's resource type, such as ``model``.
    :param name: its name.
    :param depends_on: unique ids of the nodes that it reads.
    :param relation: the relation that it writes, its parts separated by dots; empty where that is not known.
    """

    kind: str
    name: str
    depends_on: Sequence[str]
    relation: str = ""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A ``DbtDag`` or a ``DbtTaskGroup`` of the file.

    :param name: class and id, such as ``DbtDag daily``.
    :param dag_id: the DAG that its tasks are in.
    :param tasks: ids of its tasks.
    :param nodes: unique id -> node, of the whole project: of the manifest where the file names one, else as loaded.
    :param selected: unique ids of the nodes that are selected.
    :param tasks_of: unique id of a node -> ids of its tasks.
    :param is_whole: whether nothing is left out by a selection.
    :param converted: resource types for which the file has node converters.
    :param hidden: resource types that are not shown as tasks, by a setting.
    :param test_behavior: the value of that setting, such as ``after_each``.
    :param profile_error: why its profile does not render; None where it does.
    """

    name: str
    dag_id: str
    tasks: Sequence[str]
    nodes: Mapping[str, Node]
    selected: Sequence[str]
    tasks_of: Mapping[str, Sequence[str]]
    is_whole: bool
    converted: Sequence[str]
    hidden: Sequence[str]
    test_behavior: str
    profile_error: str | None


@dataclass(frozen=True, kw_only=True)
class DagRecord:
    """The results of importing a DAG file.

    :param error: why it cannot be imported; None where it can.
    :param loads_by_dbt_ls: whether dbt lists the nodes of one of its projects when it is imported.
    :param needs: what is missing for loading by ``dbt ls``, in words; None where nothing is missing.
    :param seconds: how long the import took.
    :param limit: seconds after which Airflow gives up.
    :param effects: the side effects.
    :param tasks: DAG id -> task id -> task.
    :param projects: the dbt projects in it.
    :param shape: the shapes of its DAGs as text, in the order of their ids.
    :param forms: DAG id -> the DAG as text, equal for equal DAGs.
    :param again: ``forms`` of a second import in the same process.
    """

    error: str | None = None
    loads_by_dbt_ls: bool = False
    needs: str | None = None
    seconds: float = 0.0
    limit: float = 30.0
    effects: tuple[Effect, ...] = ()
    tasks: Mapping[str, Mapping[str, Task]]
    projects: tuple[Project, ...] = ()
    shape: str = ""
    forms: Mapping[str, str]
    again: Mapping[str, str]

    @property
    def task_count(self) -> int:
        """The number of tasks of all its DAGs."""
        return sum(map(len, self.tasks.values()))


def failed_record(error: str) -> DagRecord:
    """Return the record of a file that cannot be imported.

    :param error: why.
    """
    return DagRecord(error=error, tasks={}, forms={}, again={})


def to_json(record: DagRecord) -> str:
    """Return a record as JSON.

    :param record: the record.
    """
    return json.dumps(asdict(record))


def from_json(text: str) -> DagRecord:
    """Return the record that ``to_json`` has written.

    :param text: the JSON.
    """
    data: dict[str, Any] = json.loads(text)
    data["effects"] = tuple(Effect(**each) for each in data["effects"])
    data["tasks"] = {dag: {name: Task(**task) for name, task in tasks.items()} for dag, tasks in data["tasks"].items()}
    for project in data["projects"]:
        project["nodes"] = {name: Node(**node) for name, node in project["nodes"].items()}
    return DagRecord(**{**data, "projects": tuple(Project(**project) for project in data["projects"])})
