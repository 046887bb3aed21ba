"""The record of one test with one release of dbt: what dbt did in it, in a form that workers of xdist can send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_cosmos_venv.dag_checks import task_ids
from pytest_cosmos_venv.dag_checks.record import DagRecord
from pytest_cosmos_venv.warehouse.dbt_result import DbtResult

ATTRIBUTE = "cosmos_dbt_record"
"""The attribute of pytest's report that holds the record."""


@dataclass(frozen=True, kw_only=True)
class NodeRecord:
    """What dbt did with one node.

    :param status: dbt's word, such as ``success``; ``parsed`` where dbt has only parsed or listed it.
    :param compiled: its SQL as dbt has compiled it; empty where dbt tells none.
    :param content: a digest of the rows of its table, with their number; empty where nobody has looked.
    """

    status: str
    compiled: str = ""
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """One task of a DAG.

    :param purpose: node and command of dbt, such as ``model.fleet.ships run``; None where it is for no node.
    :param upstream: ids of the tasks that it waits for, in order.
    """

    purpose: str | None
    upstream: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CommandRecord:
    """One command of dbt, or the import of a DAG file.

    :param command: what dbt was told; ``import``.
    :param nodes: unique id -> what dbt did with it.
    :param warnings: dbt's own warnings: what tells one from others -> dbt's words; empty where nobody has looked.
    :param tasks: DAG and task, such as ``daily.ships_run`` -> task; empty for a command of dbt.
    """

    command: str
    nodes: Mapping[str, NodeRecord]
    warnings: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, TaskRecord] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReleaseRecord:
    """One test with one release of dbt.

    :param test: the id of the test without the release.
    :param release: the release, as ``--cosmos-dbt`` names it.
    :param outcome: ``passed``, ``failed`` or ``skipped``.
    :param commands: what dbt did, in order.
    """

    test: str
    release: str
    outcome: str
    commands: tuple[CommandRecord, ...]

    def document(self) -> dict[str, Any]:
        """Return the record in values that JSON has."""
        return asdict(self)


def record_of(document: Mapping[str, Any]) -> ReleaseRecord:
    """Return the record that ``ReleaseRecord.document`` has written.

    :param document: the document.
    """
    commands = tuple(
        CommandRecord(
            **{
                **each,
                "nodes": {name: NodeRecord(**node) for name, node in each["nodes"].items()},
                "tasks": {
                    name: TaskRecord(purpose=task["purpose"], upstream=tuple(task["upstream"]))
                    for name, task in each["tasks"].items()
                },
            }
        )
        for each in document["commands"]
    )
    return ReleaseRecord(**{**document, "commands": commands})


def commands_of(
    results: Sequence[DbtResult], contents: Mapping[str, str], warnings: Mapping[str, str]
) -> tuple[CommandRecord, ...]:
    """Return the records of commands.

    :param results: the commands, in order.
    :param contents: unique id -> digest of the rows of its table, after the last command.
    :param warnings: dbt's own warnings in all of them.
    """
    return tuple(
        CommandRecord(
            command=" ".join(result.arguments),
            nodes={
                node.unique_id: NodeRecord(
                    status=node.status,
                    compiled=node.compiled,
                    content=contents.get(node.unique_id, ""),
                )
                for node in result.nodes.values()
            },
            warnings=warnings,
        )
        for result in results
    )


def parsed_nodes(names: Iterable[str]) -> dict[str, NodeRecord]:
    """Return unique id -> record, of nodes that dbt has parsed or listed.

    :param names: the unique ids.
    """
    return {name: NodeRecord(status="parsed") for name in names}


def import_of(record: DagRecord, check: str) -> CommandRecord:
    """Return what a check of a DAG file says of its import: ``nodes`` and ``task_ids`` what they are named for.

    :param record: what was seen when the file was imported.
    :param check: the name of the check.
    """
    nodes = {name for project in record.projects for name in project.nodes} if check == "nodes" else ()
    ids = task_ids.ids_of(record) if check == "task_ids" else {}
    return CommandRecord(
        command="import",
        nodes=parsed_nodes(sorted(nodes)),
        tasks={
            f"{dag}.{name}": TaskRecord(purpose=purpose, upstream=tuple(sorted(record.tasks[dag][name].upstream)))
            for dag, tasks in ids.items()
            for name, purpose in tasks.items()
        },
    )
