"""The record of one test with one release of dbt: its dbt commands, in a form that workers of xdist can send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_cosmos_venv.dag_checks.record import DagRecord
from pytest_cosmos_venv.warehouse.dbt_result import DbtResult

ATTRIBUTE = "cosmos_dbt_record"
"""The attribute of pytest's report that holds the record."""
OUTCOME, NODES, TASKS, STATE = "outcome", "nodes", "tasks", "state"
ROWS, SQL = "rows", "SQL"
THERE = "there"

Facts = dict[str, dict[str, str]]
"""Kind, such as ``state`` -> subject, such as the unique id of a node -> value, such as ``success``."""
Command = tuple[str, Facts]
"""The command line of dbt, or ``import`` for a DAG file; and the facts of the command, empty where it has failed."""


@dataclass(frozen=True, kw_only=True)
class ReleaseRecord:
    """One test with one release of dbt.

    :param test: the id of the test without the release.
    :param release: the release, as ``--cosmos-dbt`` names it.
    :param outcome: ``passed``, ``failed`` or ``skipped``.
    :param commands: the commands of dbt, in order.
    """

    test: str
    release: str
    outcome: str
    commands: tuple[Command, ...]


def commands_of(results: Sequence[DbtResult], contents: Mapping[str, str]) -> tuple[Command, ...]:
    """Return the records of commands.

    :param results: the commands, in order.
    :param contents: unique id -> digest of the rows of its table after the last command; empty where it was not read.
    """
    return tuple((" ".join(each.arguments), _facts_of(each, contents)) for each in results)


def _facts_of(result: DbtResult, contents: Mapping[str, str]) -> Facts:
    nodes = result.nodes.values()
    if not nodes:
        return {}
    return {
        NODES: {node.unique_id: THERE for node in nodes},
        STATE: {node.unique_id: node.status for node in nodes},
        ROWS: {node.unique_id: contents.get(node.unique_id, "") for node in nodes},
        SQL: {node.unique_id: " ".join(node.compiled.split()) for node in nodes},
    }


def parsed(names: Iterable[str]) -> Command:
    """Return the nodes that dbt has parsed, as a command ``parse``.

    :param names: the unique ids of the nodes.
    """
    return "parse", {NODES: dict.fromkeys(names, THERE)}


def import_of(record: DagRecord, check: str) -> Command:
    """Return the facts of the import of a DAG file: nodes and tasks, for the check ``shape`` alone.

    :param record: the record of the import.
    :param check: the name of the check.
    """
    facts: Facts = {}
    if check == "shape":
        nodes = {name: THERE for project in record.projects for name in sorted(project.nodes)}
        before = {
            f"{dag}.{name}": tasks[name].upstream for dag, tasks in record.tasks.items() for name in sorted(tasks)
        }
        facts = {
            NODES: nodes,
            TASKS: {name: f"after {', '.join(above) or 'no task'}" for name, above in before.items()},
        }
    return "import", facts
