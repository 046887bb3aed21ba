"""The work of a command of dbt 2 on its nodes, with its events."""

from __future__ import annotations

from typing import Any

from ..artifacts import NodeResult, node_info
from ..log import Console, now
from ..node_run import BaseRun
from ..project import Node
from ..script import Script

SCRIPTED_ERROR = "Scripted Error: a test wants it so"
_RESULT_EVENTS = {"seed": "LogSeedResult", "snapshot": "LogSnapshotResult", "model": "LogModelResult"}
_MESSAGES = {
    "fail": "Error",
    "pass": "Pass",
    "skipped": "Skipped due to upstream failure",
    "success": "Succeeded",
    "warn": "Warn",
}
_CANCELLED = "Cancelled: SQL statement execution was cancelled"


class NativeRun(BaseRun):
    """The work of one call of dbt 2.

    :param nodes: the nodes in their order.
    :param script: the rule of the test for this call.
    :param console: the output of the call, which counts errors and warnings.
    """

    def __init__(self, nodes: list[Node], script: Script, console: Console) -> None:
        super().__init__(nodes, script)
        self._console = console
        self._node_began = 0.0

    def succeeded(self) -> list[NodeResult]:
        """Return the results of a command that only compiles the nodes."""
        ends = [(node, self._default_status(node, fails=False)) for node in self._nodes]
        return [NodeResult(node, end, self._message_of(node, end, None), None, now(), 0.0) for node, end in ends]

    @staticmethod
    def _default_status(node: Node, *, fails: bool) -> str:
        if fails:
            return "fail" if node.kind == "test" else "error"
        return "pass" if "test" in node.kind else "success"

    @staticmethod
    def _message_of(node: Node, status: str, failures: int | None) -> str | None:  # noqa: ARG004 - dbt 1 says it
        if status in _MESSAGES or node.kind == "unit_test":
            return _MESSAGES.get(status, "Error")
        place = f"target/run/{node.package}/{node.path}"
        return f"Database Error in {node.kind} {node.name} ({place})\n  {SCRIPTED_ERROR}"

    def _start(self, position: int, node: Node, *, is_run: bool) -> None:  # noqa: ARG002 - dbt 2 begins what it skips
        event, info, name = self._console.event, _node_info(node, "started"), _relation(node)
        self._node_began = self.seconds
        kind = node.kind.replace("_", " ")
        event("NodeStart", f"Began running node {node.unique_id}", "debug", node_info=info)
        event("LogStartLine", f"Started {kind} {name}", node_info=info)
        info = _node_info(node, "executing")
        event("NodeExecuting", f"Started running {kind} {name}", "debug", node_info=info)

    def _cancel(self, position: int, node: Node | None) -> None:
        if node is not None:
            text = f"Error executing materialization macro for {node.kind} {node.unique_id}: {_CANCELLED}"
            outcome = {"status": "error", "message": f"[TaskCancelled (dbt1404)]: {text}", "failures": None}
            self._end(position, node, outcome)

    def _end(self, position: int, node: Node, outcome: dict[str, Any]) -> None:  # noqa: ARG002 - dbt 2 counts none
        result = self._add(node, outcome, self.seconds - self._node_began)
        event = self._console.event
        if result.status == "error" and node.kind != "unit_test":
            what = "" if str(result.message).startswith("[") else "[DbDriverFailed (dbt1308)]: "
            self._console.trouble(f"[error] {what}{result.message}", node.unique_id)
        self._console.errors += result.has_failed
        self._console.warnings += result.status == "warn"
        shown = "fail" if node.kind == "unit_test" and result.has_failed else result.status
        facts: dict[str, Any] = {"execution_time": result.seconds, "status": shown}
        if "test" in node.kind and result.status != "skipped":
            facts["num_failures"] = result.failures or int(result.has_failed)
        info, name = _node_info(node, shown), _RESULT_EVENTS.get(node.kind, "LogTestResult")
        event(
            name,
            f"{shown.capitalize()} [{result.seconds:6.2f}s] {node.kind} {_relation(node)}",
            node_info=info,
            **facts,
        )
        if result.has_failed or result.status == "skipped":
            text = f"Marking children of {node.unique_id} as skipped"
            marked = {"run_result": facts, "status": shown, "unique_id": node.unique_id}
            event("MarkSkippedChildren", text, "debug", **marked)
        event("NodeFinished", f"Finished running node {node.unique_id}", "debug", node_info=info, run_result=facts)


def _relation(node: Node) -> str:
    return f"{node.schema if 'test' not in node.kind else 'main_dbt_test__audit'}.{node.name}"


def _node_info(node: Node, status: str) -> dict[str, Any]:
    schema, _, name = _relation(node).partition(".")
    relation = {"alias": name, "database": "dev", "relation_name": f"dev.{schema}.{name}", "schema": schema}
    materialized = "table" if node.kind == "seed" else node.materialized
    return {**node_info(node, status, relation), "materialized": materialized}
