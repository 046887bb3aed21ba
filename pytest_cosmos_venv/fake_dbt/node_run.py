"""The work of a command on its nodes, one after another: each ends as scripted, is skipped after a failed parent, or
succeeds.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from .artifacts import FAILED, PARTIAL, NodeResult, node_info
from .log import Log, aligned, counted, now
from .project import Node
from .script import Interrupted, Script

_DONE = {"model": "OK created", "seed": "OK loaded", "snapshot": "OK snapshotted"}
_BROKEN = {"model": "ERROR creating", "seed": "ERROR loading", "snapshot": "ERROR snapshotting"}
_SKIPPED = ("skipped", "no-op")
_RESULT_EVENTS = {
    "seed": "LogSeedResult",
    "snapshot": "LogSnapshotResult",
    "source": "LogFreshnessResult",
    "test": "LogTestResult",
}


class BaseRun(ABC):
    """The work of one call: the part that dbt 1 and dbt 2 have in common. ``results`` are the ends of nodes.

    :param nodes: the nodes in their order.
    :param script: the rule of the test for this call.
    """

    def __init__(self, nodes: list[Node], script: Script) -> None:
        self.results: list[NodeResult] = []
        self._nodes = nodes
        self._script = script
        self._began = time.monotonic()
        self._lost: set[str] = set()

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._began

    def work(self) -> None:
        """Work through every node. On SIGINT print what dbt prints then.

        :raises Interrupted: SIGINT has come.
        """
        for position, node in enumerate(self._nodes, start=1):
            outcome = self._outcome(node)
            is_run = outcome["status"] not in _SKIPPED
            self._start(position, node, is_run=is_run)
            if is_run and self._script.pauses_in(node.unique_id):
                self._pause(position, node)
            self._end(position, node, outcome)
            if self._script.pauses_after(node.unique_id):
                self._pause(position, None)

    def _outcome(self, node: Node) -> dict[str, Any]:
        """Return how a node ends: its status, with dbt's message and number of failures for this status."""
        is_lost = not self._lost.isdisjoint(node.depends_on)
        default = self._default_status(node, fails=self._script.exit_code == 1)
        scripted = self._script.end_of(node.unique_id, is_lost=is_lost, default=default)
        status, failures = scripted["status"], scripted.get("failures")
        if status in ("skipped", *FAILED):
            self._lost.add(node.unique_id)
        if failures is None and "test" in node.kind:
            failures = {"pass": 0, "warn": 1, "fail": 1}.get(status)
        message = scripted.get("message") or self._message_of(node, status, failures)
        return {"status": status, "message": message, "failures": failures}

    def _pause(self, position: int, node: Node | None) -> None:
        try:
            self._script.pause()
        except Interrupted:
            self._cancel(position, node)
            raise

    def _add(self, node: Node, outcome: dict[str, Any], seconds: float) -> NodeResult:
        result = NodeResult(node, outcome["status"], outcome["message"], outcome["failures"], now(), seconds)
        self.results.append(result)
        self._script.record_end(node.unique_id, result.status)
        return result

    @staticmethod
    @abstractmethod
    def _default_status(node: Node, *, fails: bool) -> str: ...

    @staticmethod
    @abstractmethod
    def _message_of(node: Node, status: str, failures: int | None) -> str | None:
        """Return dbt's message for the end of a node; None without a message."""

    @abstractmethod
    def _start(self, position: int, node: Node, *, is_run: bool) -> None:
        """Print that the work on a node begins; ``is_run`` is False for a skipped node."""

    @abstractmethod
    def _end(self, position: int, node: Node, outcome: dict[str, Any]) -> None:
        """Print how a node has ended, and add its result."""

    @abstractmethod
    def _cancel(self, position: int, node: Node | None) -> None:
        """Print that SIGINT has come, during a node or between two nodes (None)."""


class NodeRun(BaseRun):
    """The work of one call of dbt 1, with its lines in the log.

    :param nodes: the nodes in their order.
    :param script: the rule of the test for this call.
    :param log: the log of the call.
    """

    def __init__(self, nodes: list[Node], script: Script, log: Log) -> None:
        super().__init__(nodes, script)
        self._log = log

    @property
    def has_failed(self) -> bool:
        """Whether any node has failed."""
        return any(result.has_failed for result in self.results)

    def say_finished(self) -> None:
        """Say ``Finished running 2 view models in ...``."""
        nouns = [result.node.noun for result in self.results]
        counts = ", ".join(counted(nouns.count(noun), noun) for noun in sorted(set(nouns)))
        within = f" in 0 hours 0 minutes and {self.seconds:.2f} seconds"
        self._log.say(
            f"Finished running {counts}{within} ({self.seconds:.2f}s).",
            name="FinishedRunningStats",
            stat_line=counts,
            execution=within,
            execution_time=self.seconds,
        )

    def say_summary(self) -> None:
        """Print the summary: failures and warnings in full, and the line of sums."""
        failed = [result for result in self.results if result.has_failed and result.status != PARTIAL]
        partial = [result for result in self.results if result.status == PARTIAL]
        warned = [result for result in self.results if result.status == "warn"]
        self._log.say()
        self._log.say(
            _completed(len(failed), len(partial), len(warned)),
            name="EndOfRunSummary",
            num_errors=len(failed),
            num_warnings=len(warned),
            num_partial_success=len(partial),
            keyboard_interrupt=False,
        )
        for result in failed + warned:
            self._say_trouble(result)
        self._log.say()
        self._say_sums(self.results)

    @staticmethod
    def _default_status(node: Node, *, fails: bool) -> str:
        if fails:
            return "fail" if "test" in node.kind else "error"
        return "pass" if node.kind in ("test", "unit_test", "source") else "success"

    @staticmethod
    def _message_of(node: Node, status: str, failures: int | None) -> str | None:
        if status == "success":
            return "INSERT 1" if node.kind == "seed" else "OK"
        if status in ("fail", "warn"):
            return f"Got {counted(failures or 1, 'result')}, configured to {status} if != 0"
        if status == PARTIAL:
            return "PARTIAL SUCCESS (1/2)"
        if status in FAILED:
            return f"Runtime Error in {node.kind} {node.name} ({node.path})\n  Scripted Error: a test wants it so"
        return None

    def _start(self, position: int, node: Node, *, is_run: bool) -> None:
        if is_run:
            self._log.say(
                aligned(f"{self._place(position)} START {node.label}", "RUN"),
                name="LogStartLine",
                description=node.label,
                index=position,
                total=len(self._nodes),
                node_info=_node_info(node, "started"),
            )

    def _place(self, position: int) -> str:
        return f"{position} of {len(self._nodes)}"

    def _cancel(self, position: int, node: Node | None) -> None:
        say = self._log.say
        if node is not None:
            say(aligned(f"CANCEL query {node.unique_id}", "CANCEL"), level="error", name="CancelQuery")
            broken = f"{self._place(position)} {_BROKEN.get(node.kind, 'ERROR')} {node.label}"
            say(aligned(broken, f"ERROR in {self.seconds:.2f}s"), level="error")
        self.results = []
        say()
        say("Exited because of keyboard interrupt", name="EndOfRunSummary", keyboard_interrupt=True)
        say()
        self._say_sums([])
        say()
        self.say_finished()

    def _end(self, position: int, node: Node, outcome: dict[str, Any]) -> None:
        result = self._add(node, outcome, self.seconds)
        common: dict[str, Any] = {
            "index": position,
            "total": len(self._nodes),
            "node_info": _node_info(node, result.status),
        }
        if result.status in _SKIPPED:
            what = f"{node.kind} {node.name}" if "test" in node.kind else f"relation {node.schema}.{node.name}"
            line = aligned(f"{self._place(position)} SKIP {what}", "SKIP")
            schema = {"node_name": node.name, "resource_type": node.kind, "schema": node.schema}
            self._log.say(line, name="SkippingDetails", **common, **schema)
            return
        what, status = _words(result)
        level = {"warn": "warn", PARTIAL: "info"}.get(result.status, "error" if result.has_failed else "info")
        name = _RESULT_EVENTS.get(node.kind, "LogModelResult")
        line = aligned(f"{self._place(position)} {what}", f"{status} in {result.seconds:.2f}s")
        common["status"] = result.message if result.status in ("success", PARTIAL) else result.status
        if node.kind == "seed":
            common |= {"relation": node.name, "result_message": result.message, "schema": node.schema}
        else:
            common["description"] = node.label
        self._log.say(line, name=name, level=level, execution_time=result.seconds, **common)

    def _say_trouble(self, result: NodeResult) -> None:
        node, is_failure = result.node, result.has_failed
        info = _node_info(node, "None")
        word, before = ("Failure", "  ") if is_failure else ("Warning", "")
        level = "error" if is_failure else "warn"
        self._log.say()
        self._log.say(
            f"{word} in {node.kind} {node.name} ({node.path})",
            name="RunResultFailure" if is_failure else "RunResultWarning",
            level=level,
            node_info=info,
            node_name=node.name,
            path=node.path,
            resource_type=node.kind,
        )
        name = "RunResultError" if is_failure else "RunResultWarningMessage"
        self._log.say(f"{before}{result.message}", name=name, level=level, node_info=info, msg=result.message)
        if node.kind not in ("seed", "source"):
            path = f"target/compiled/{node.package}/{node.path}"
            self._log.say()
            self._log.say(f"  compiled code at {path}", name="SQLCompiledPath", node_info=info, path=path)

    def _say_sums(self, results: list[NodeResult]) -> None:
        statuses = [result.status for result in results]
        stats = {
            "pass": sum(status in ("success", "pass") for status in statuses),
            "warn": statuses.count("warn"),
            "error": sum(result.has_failed for result in results),
            "skip": statuses.count("skipped"),
            "noop": statuses.count("no-op"),
            "total": len(results),
        }
        text = " ".join(f"{'NO-OP' if key == 'noop' else key.upper()}={value}" for key, value in stats.items())
        self._log.say(f"Done. {text}", name="StatsLine", stats=stats)


def _words(result: NodeResult) -> tuple[str, str]:
    node, count = result.node, result.failures
    if node.kind == "source":
        word = {"error": "ERROR STALE", "runtime error": "ERROR"}.get(result.status, result.status.upper())
        return f"{word} {node.label}", word
    if node.kind in ("test", "unit_test"):
        word = {"fail": f"FAIL {count}", "warn": f"WARN {count}"}.get(result.status, result.status.upper())
        return f"{word} {node.name}", word
    if result.status == PARTIAL:
        return f"PARTIALLY created {node.label}", str(result.message)
    if result.has_failed:
        return f"{_BROKEN.get(node.kind, 'ERROR')} {node.label}", "ERROR"
    return f"{_DONE.get(node.kind, 'OK')} {node.label.replace('snapshot ', '')}", str(result.message)


def _completed(errors: int, partial: int, warnings: int) -> str:
    if not errors and not partial and not warnings:
        return "Completed successfully"
    parts = (counted(errors, "error"), counted(partial, "partial success"), counted(warnings, "warning"))
    return "Completed with {}, {}, and {}:".format(*parts)


def _node_info(node: Node, status: str) -> dict[str, Any]:
    relation = {
        "alias": node.name,
        "database": "dev",
        "schema": node.schema,
        "relation_name": f'"dev"."{node.schema}"."{node.name}"',
    }
    path = node.path.partition("/")[2]
    return {**node_info(node, status, relation), "meta": {}, "node_path": path}
