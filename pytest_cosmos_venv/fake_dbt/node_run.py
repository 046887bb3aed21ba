"""The work of a command on its nodes: one after another, each ending as scripted, or as follows from the nodes above
it.
"""

from __future__ import annotations

import time
from typing import Any

from .artifacts import FAILED, PARTIAL, Result, node_info
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


class NodeRun:
    """The work of one call, with its lines in the log. ``results`` are the nodes that have ended.

    :param nodes: the nodes in their order.
    :param script: the rule of the test for this call.
    :param log: the log of the call.
    :param is_1_12: whether it is dbt 1.12 or later, which has other words for troubles and one sum more.
    """

    def __init__(self, nodes: list[Node], script: Script, log: Log, *, is_1_12: bool) -> None:
        self._is_1_12 = is_1_12
        self.results: list[Result] = []
        self._nodes = nodes
        self._script = script
        self._log = log
        self._began = time.monotonic()
        self._lost: set[str] = set()

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._began

    @property
    def has_failed(self) -> bool:
        """Whether any node has failed."""
        return any(result.has_failed for result in self.results)

    def work(self) -> None:
        """Work through every node. On SIGINT say what dbt says then, and leave no results.

        :raises Interrupted: SIGINT has come.
        """
        for position, node in enumerate(self._nodes, start=1):
            outcome = self._outcome(node)
            place = f"{position} of {len(self._nodes)}"
            if outcome["status"] not in _SKIPPED:
                self._start(place, position, node)
                if self._script.pauses_in(node.unique_id):
                    self._pause(place, node)
            self._end(place, position, node, outcome)
            if self._script.pauses_after(node.unique_id):
                self._pause(place, None)

    def say_finished(self) -> None:
        """Say ``Finished running 2 view models in ...``."""
        nouns = [result.node.noun for result in self.results]
        counts = ", ".join(counted(nouns.count(noun), noun) for noun in _sorted_nouns(nouns))
        within = f" in 0 hours 0 minutes and {self.seconds:.2f} seconds"
        self._log.say(
            f"Finished running {counts}{within} ({self.seconds:.2f}s).",
            name="FinishedRunningStats",
            stat_line=counts,
            execution=within,
            execution_time=self.seconds,
        )

    def say_summary(self) -> None:
        """Say how it went: the failures and warnings in full, and the line of sums."""
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

    def _outcome(self, node: Node) -> dict[str, Any]:
        is_lost = not self._lost.isdisjoint(node.depends_on)
        default = _default_status(node, self._script.exit_code == 1)
        scripted = self._script.end_of(node.unique_id, is_lost=is_lost, default=default)
        outcome = {"message": None, "failures": None, **scripted}
        if outcome["status"] in ("skipped", *FAILED):
            self._lost.add(node.unique_id)
        return _filled(outcome, node)

    def _start(self, place: str, position: int, node: Node) -> None:
        self._log.say(
            aligned(f"{place} START {node.label}", "RUN"),
            name="LogStartLine",
            description=node.label,
            index=position,
            total=len(self._nodes),
            node_info=_node_info(node, "started"),
        )

    def _pause(self, place: str, node: Node | None) -> None:
        try:
            self._script.pause()
        except Interrupted:
            self._cancel(place, node)
            raise

    def _cancel(self, place: str, node: Node | None) -> None:
        say = self._log.say
        if node is not None:
            say(aligned(f"CANCEL query {node.unique_id}", "CANCEL"), level="error", name="CancelQuery")
            broken = _BROKEN.get(node.kind, "ERROR")
            say(aligned(f"{place} {broken} {node.label}", f"ERROR in {self.seconds:.2f}s"), level="error")
        self.results = []
        say()
        say("Exited because of keyboard interrupt", name="EndOfRunSummary", keyboard_interrupt=True)
        say()
        self._say_sums([])
        say()
        self.say_finished()

    def _end(self, place: str, position: int, node: Node, outcome: dict[str, Any]) -> None:
        if outcome["status"] == PARTIAL:
            self._say_failed_batch(node, outcome["message"])
            outcome = {**outcome, "message": "PARTIAL SUCCESS (1/2)"}
        result = Result(node, outcome["status"], outcome["message"], outcome["failures"], now(), self.seconds)
        self.results.append(result)
        self._script.record_end(node.unique_id, result.status)
        common: dict[str, Any] = {
            "index": position,
            "total": len(self._nodes),
            "node_info": _node_info(node, result.status),
        }
        if result.status in _SKIPPED:
            what = f"{node.kind} {node.name}" if "test" in node.kind else f"relation {node.schema}.{node.name}"
            line = aligned(f"{place} SKIP {what}", "SKIP")
            schema = {"node_name": node.name, "resource_type": node.kind, "schema": node.schema}
            self._log.say(line, name="SkippingDetails", **common, **schema)
            return
        what, status = _words(result)
        level = {"warn": "warn", PARTIAL: "info"}.get(result.status, "error" if result.has_failed else "info")
        name = _RESULT_EVENTS.get(node.kind, "LogModelResult")
        line = aligned(f"{place} {what}", f"{status} in {result.seconds:.2f}s")
        common["status"] = result.message if result.status in ("success", PARTIAL) else result.status
        if node.kind == "seed":
            common |= {"relation": node.name, "result_message": result.message, "schema": node.schema}
        else:
            common["description"] = node.label
        self._log.say(line, name=name, level=level, execution_time=result.seconds, **common)

    def _say_failed_batch(self, node: Node, message: str) -> None:
        """Say that a batch failed; the database's words stand in the log alone, as with dbt."""
        info = _node_info(node, "error")
        say = self._log.say
        say(
            f"Unhandled error while executing\n{message}",
            name="GenericExceptionOnRun",
            level="error",
            exc=message,
            node_info=info,
        )
        what = f"batch 2026-01-02 of {node.schema}.{node.name}"
        batch = {"batch_index": 2, "total_batches": 2, "description": what, "status": "error"}
        line = aligned(f"Batch 2 of 2 ERROR creating {what}", f"ERROR in {self.seconds:.2f}s")
        say(line, name="LogBatchResult", level="error", node_info=info, execution_time=self.seconds, **batch)

    def _say_trouble(self, result: Result) -> None:
        node, is_failure = result.node, result.has_failed
        info = _node_info(node, "None")
        word, before = ("Failure", "  ") if is_failure else ("Warning", "")
        if self._is_1_12:
            word, before = ("[ERROR]:", "  ") if is_failure else ("[WARNING]:", "[WARNING]: ")
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
            of_test = f"/{node.name}.sql" if node.path.endswith(".yml") else ""
            path = f"target/compiled/{node.package}/{node.path}{of_test}"
            self._log.say()
            self._log.say(f"  compiled code at {path}", name="SQLCompiledPath", node_info=info, path=path)

    def _say_sums(self, results: list[Result]) -> None:
        statuses = [result.status for result in results]
        stats = {
            "pass": sum(status in ("success", "pass") for status in statuses),
            "warn": statuses.count("warn"),
            "error": sum(result.has_failed for result in results),
            "skip": statuses.count("skipped"),
            "noop": statuses.count("no-op"),
            **({"reused": 0} if self._is_1_12 else {}),
            "total": len(results),
        }
        text = " ".join(f"{'NO-OP' if key == 'noop' else key.upper()}={value}" for key, value in stats.items())
        self._log.say(f"Done. {text}", name="StatsLine", stats=stats)


def _default_status(node: Node, fails: bool) -> str:
    if fails:
        return "fail" if "test" in node.kind else "error"
    return "pass" if node.kind in ("test", "unit_test", "source") else "success"


def _filled(outcome: dict[str, Any], node: Node) -> dict[str, Any]:
    """Add the message and the number of failures that dbt itself would write where the script gives a status only."""
    status = outcome["status"]
    if outcome["failures"] is None and node.kind in ("test", "unit_test"):
        outcome["failures"] = {"pass": 0, "warn": 1, "fail": 1}.get(status)
    if outcome["message"] is None:
        outcome["message"] = message_of(node, status, outcome["failures"])
    return outcome


def message_of(node: Node, status: str, failures: int | None) -> str | None:
    """Return dbt's message for the end of a node; None where it has none.

    :param node: the node.
    :param status: its status.
    :param failures: the number of rows that a test found.
    """
    if status == "success":
        return "INSERT 1" if node.kind == "seed" else "OK"
    if status in ("fail", "warn"):
        return f"Got {counted(failures or 1, 'result')}, configured to {status} if != 0"
    if status in ("error", PARTIAL, "runtime error"):
        return f"Runtime Error in {node.kind} {node.name} ({node.path})\n  Scripted Error: a test wants it so"
    return None


def _words(result: Result) -> tuple[str, str]:
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
    if not errors and not partial:
        return f"Completed with {counted(warnings, 'warning')}:" if warnings else "Completed successfully"
    if not errors:
        return f"Completed with {counted(partial, 'partial success')} and {counted(warnings, 'warning')}"
    parts = (counted(errors, "error"), counted(partial, "partial success"), counted(warnings, "warning"))
    return "Completed with {}, {}, and {}:".format(*parts)


def _sorted_nouns(nouns: list[str]) -> list[str]:
    """dbt sorts by kind and materialization: seed, test, view."""
    return sorted(set(nouns), key=lambda noun: noun.replace("data test", "test").replace("unit test", "unit"))


def _node_info(node: Node, status: str) -> dict[str, Any]:
    relation = {
        "alias": node.name,
        "database": "dev",
        "schema": node.schema,
        "relation_name": f'"dev"."{node.schema}"."{node.name}"',
    }
    path = node.path.partition("/")[2]
    return {**node_info(node, status, relation), "meta": {}, "node_path": path}
