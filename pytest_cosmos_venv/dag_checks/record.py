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
class CheckedTask:
    """A task of a DAG.

    :param upstream: ids of the tasks that it waits for.
    :param outlets: URIs of the assets that it updates, as far as they are known when the file is parsed.
    :param emits: whether it adds assets when it runs.
    """

    upstream: Sequence[str]
    outlets: Sequence[str]
    emits: bool


@dataclass(frozen=True, kw_only=True)
class CheckedProject:
    """A ``DbtDag`` or a ``DbtTaskGroup`` of the file.

    :param name: class and id, such as ``DbtDag daily``.
    :param dag_id: the DAG that its tasks are in.
    :param nodes: unique id -> the relation that the node writes, its parts separated by dots, empty where that is not
        known; of all nodes of the manifest where the file names one, else of the loaded nodes.
    :param tasks_of: unique id of a node -> ids of its tasks.
    :param profile_error: why its profile does not render; None where it does.
    """

    name: str
    dag_id: str
    nodes: Mapping[str, str]
    tasks_of: Mapping[str, Sequence[str]]
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
    tasks: Mapping[str, Mapping[str, CheckedTask]]
    projects: tuple[CheckedProject, ...] = ()
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
    data["tasks"] = {
        dag: {name: CheckedTask(**task) for name, task in tasks.items()} for dag, tasks in data["tasks"].items()
    }
    return DagRecord(**{**data, "projects": tuple(CheckedProject(**project) for project in data["projects"])})
