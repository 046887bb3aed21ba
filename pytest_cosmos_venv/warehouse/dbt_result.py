"""The result of a dbt command: its exit code, its output, and the status of each node."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_GOOD = frozenset({"success", "pass", "warn", "skipped", "partial success", "no-op"})
# DuckDB's errors for SQL of another database's dialect.
_DIALECT = re.compile(
    r"Parser Error|syntax error at or near"
    r"|Catalog Error: (\w+ )*(Function|Type|Macro) with name|(function|type) [\w.]+ does not exist"
    r"|Binder Error: (No function matches|Could not choose)"
    r"|Not implemented Error",
    re.IGNORECASE,
)
_WAY_OUT = (
    "DuckDB does not understand this SQL of another database. A macro in the project can write it for both "
    "(adapter.dispatch), or the test gives the rows of this node (cosmos_duckdb's give) and leaves it out of build."
)
# Behind each error, dbt 2 prints the unnamed stack frames of its own program and the profile that it loads.
_NOISE = re.compile(r"\s+(\d+: \S+|at \S+:\d+:\d+|Loading \S+profiles\.yml)\s*")
_SHOWN_LINES = 30


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """The result of one node in dbt's ``run_results.json``.

    :param unique_id: its id, such as ``model.harbor.ships``.
    :param status: dbt's status: ``success``, ``error``, ``skipped``, ``pass``, ``fail``, ``warn``.
    :param message: dbt's message; empty where there is none.
    :param failures: the number of rows that a test has found; None for other nodes.
    :param seconds: the duration in seconds.
    :param compiled: its compiled SQL; empty where dbt reports none.
    """

    unique_id: str
    status: str
    message: str
    failures: int | None
    seconds: float
    compiled: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The name of the node; the name of a test has no digest."""
        parts = self.unique_id.split(".")
        return ".".join(parts[2:3] if parts[0] == "test" else parts[2:])

    @property
    def is_good(self) -> bool:
        """Whether the node has no failure of its own. A skipped node is good: another node has failed."""
        return self.status in _GOOD

    @property
    def needs_another_dialect(self) -> bool:
        """Whether DuckDB does not understand its SQL."""
        return self.status == "error" and _DIALECT.search(self.message) is not None

    def __str__(self) -> str:
        lines = [f"{self.unique_id}: {self.status}", *(f"    {line}" for line in self.message.splitlines())]
        return "\n".join([*lines, *([f"    {_WAY_OUT}"] if self.needs_another_dialect else [])])


class DbtFailed(AssertionError):
    """A dbt command has failed. The text has dbt's messages for each failed node and test, or for the command."""


@dataclass(frozen=True, kw_only=True)
class DbtResult:
    """A command of dbt that has ended.

    :param arguments: the arguments of dbt, without the options that the toolkit adds.
    :param exit_code: dbt's exit code.
    :param log: dbt's output.
    :param seconds: the duration of the command.
    :param nodes: unique id -> result of the node, in dbt's order.
    """

    arguments: tuple[str, ...]
    exit_code: int
    log: str = field(repr=False)
    seconds: float
    nodes: Mapping[str, NodeState]

    @property
    def succeeded(self) -> bool:
        """Whether dbt ended with 0."""
        return self.exit_code == 0

    @property
    def states(self) -> dict[str, str]:
        """Name -> status of each node that is no test: ``{"ships": "success"}``."""
        return {node.name: node.status for node in self.nodes.values() if not _is_test(node)}

    @property
    def tests(self) -> dict[str, str]:
        """Name -> status of each test: ``{"not_null_ships_id": "pass"}``."""
        return {node.name: node.status for node in self.nodes.values() if _is_test(node)}

    def __str__(self) -> str:
        ill = [node for node in self.nodes.values() if not node.is_good]
        # In dbt 2 the message of a node is only "Compilation Error"; the reason is in the log.
        is_all = bool(ill) and all("\n" in node.message for node in ill)
        lines = [line for line in self.log.splitlines() if line.strip() and not _NOISE.fullmatch(line)]
        log = [] if self.succeeded or is_all else lines[-_SHOWN_LINES:]
        return "\n".join([f"dbt {' '.join(self.arguments)} ended with {self.exit_code}.", *map(str, ill), *log])


def _is_test(node: NodeState) -> bool:
    return node.unique_id.startswith(("test.", "unit_test."))


def nodes_of(run_results: Path, manifest: Path) -> dict[str, NodeState]:
    """Return the results of all nodes, in dbt's order; empty where dbt has written no ``run_results.json``.

    :param run_results: the file ``run_results.json``.
    :param manifest: the file ``manifest.json`` of the same command.
    """
    try:
        results: list[dict[str, Any]] = json.loads(run_results.read_text(encoding="utf-8"))["results"]
    except FileNotFoundError:
        return {}
    compiled: Mapping[str, Any] = {}
    if any("compiled_code" not in each for each in results) and manifest.exists():  # of dbt 2, in the manifest only
        compiled = json.loads(manifest.read_text(encoding="utf-8"))["nodes"]
    return {
        each["unique_id"]: NodeState(
            unique_id=each["unique_id"],
            status=str(each["status"]),
            message=str(each.get("message") or ""),
            failures=each.get("failures"),
            seconds=float(each.get("execution_time") or 0.0),
            compiled=str(each.get("compiled_code") or compiled.get(each["unique_id"], {}).get("compiled_code") or ""),
        )
        for each in results
    }
