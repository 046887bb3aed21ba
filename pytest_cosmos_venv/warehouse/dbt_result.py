"""A command of dbt that has ended: its exit code, what dbt says, and the state of each node."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_GOOD = frozenset({"success", "pass", "warn", "skipped", "partial success", "no-op"})
# What DuckDB says of SQL that another database understands.
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
# dbt 2 prints the frames of its own program behind each error, none of which has a name, and what it loads.
_NOISE = re.compile(r"\s+(\d+: \S+|at \S+:\d+:\d+|Loading \S+profiles\.yml)\s*")
_SHOWN_LINES = 30


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What dbt says of one node.

    :param unique_id: its id, such as ``model.harbor.ships``.
    :param status: dbt's word: ``success``, ``error``, ``skipped``, ``pass``, ``fail``, ``warn``.
    :param message: dbt's message; empty where there is none.
    :param failures: how many rows a test has found; None for other nodes.
    :param seconds: how long it took.
    :param compiled: its SQL as dbt has compiled it; empty where dbt tells none.
    """

    unique_id: str
    status: str
    message: str
    failures: int | None
    seconds: float
    compiled: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The name of the node: that of a test without dbt's digest."""
        parts = self.unique_id.split(".")
        return ".".join(parts[2:3] if parts[0] == "test" else parts[2:])

    @property
    def is_good(self) -> bool:
        """Whether it neither failed nor broke. A skipped node is good: it tells of another one."""
        return self.status in _GOOD

    @property
    def needs_another_dialect(self) -> bool:
        """Whether DuckDB does not understand its SQL."""
        return self.status == "error" and _DIALECT.search(self.message) is not None

    def __str__(self) -> str:
        lines = [f"{self.unique_id}: {self.status}", *(f"    {line}" for line in self.message.splitlines())]
        return "\n".join([*lines, *([f"    {_WAY_OUT}"] if self.needs_another_dialect else [])])


class DbtFailed(AssertionError):
    """dbt has failed: a node, a test, or the command itself. The text says which, in dbt's own words."""


@dataclass(frozen=True, kw_only=True)
class DbtResult:
    """A command of dbt that has ended.

    :param arguments: what dbt was told, without the places of profile and target.
    :param exit_code: dbt's exit code.
    :param log: what dbt has printed.
    :param seconds: how long the command took.
    :param nodes: unique id -> what dbt says of it, in dbt's order.
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
        # dbt 2 gives "Compilation Error" as the message of a node, and the reason in its log alone.
        is_all = bool(ill) and all("\n" in node.message for node in ill)
        lines = [line for line in self.log.splitlines() if line.strip() and not _NOISE.fullmatch(line)]
        log = [] if self.succeeded or is_all else lines[-_SHOWN_LINES:]
        return "\n".join([f"dbt {' '.join(self.arguments)} ended with {self.exit_code}.", *map(str, ill), *log])


def _is_test(node: NodeState) -> bool:
    return node.unique_id.startswith(("test.", "unit_test."))


def nodes_of(run_results: Path, manifest: Path) -> dict[str, NodeState]:
    """Return what dbt says of each node, in its order; empty where dbt has written nothing.

    :param run_results: the file ``run_results.json``.
    :param manifest: the file ``manifest.json`` of the same command.
    """
    try:
        results: list[dict[str, Any]] = json.loads(run_results.read_text(encoding="utf-8"))["results"]
    except FileNotFoundError:
        return {}
    compiled: Mapping[str, Any] = {}
    if any("compiled_code" not in each for each in results) and manifest.exists():  # dbt 2 writes it there alone
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
