"""A call of dbt 1 that a recording answers."""

from __future__ import annotations

from typing import Any

from ..call import Call
from ..command_line import Invocation
from ..log import Log
from ..node_run import NodeRun
from ..project import Node, Project
from ..script import Script
from .playing import RecordedCommands, renumbered
from .recording import Answer


class RecordedCall(Call):
    """One call: repeated word for word where it was recorded so, else put together from what was recorded of its nodes.

    :param invocation: the command line.
    :param script: the rule that names the recording.
    :param installed: ``core`` and names of adapters -> their versions.
    """

    def __init__(self, invocation: Invocation, script: Script, installed: dict[str, str]) -> None:
        super().__init__(invocation, script, installed)
        self._recorded = RecordedCommands.of(invocation, script, Invocation, self._folder, self._target)
        if self._recorded.project is not None:
            self._artifacts.scripted.update(script.artifacts)

    def run(self) -> int:
        """Do everything, and return the exit code. Errors are those of ``RecordedCommands.repeat``."""
        exit_code = self._recorded.repeat(self._invocation, self._script, self._target)
        return super().run() if exit_code is None else exit_code

    def _read_nodes(self) -> Project:
        project = self._recorded.project
        return super()._read_nodes() if project is None else project

    def _say_adapter(self) -> None:
        if not self._repeat("AdapterRegistered"):
            super()._say_adapter()

    def _say_found(self, project: Project) -> None:
        if not self._repeat("FoundStats"):
            super()._say_found(project)

    def _repeat(self, name: str) -> bool:
        """Say an event as it was recorded; False where it was not."""
        answer = self._recorded.answer
        event = None if answer is None else answer.command.event(name)
        if event is not None:
            self._log.repeat(event)
        return event is not None

    def _run_of(self, work: list[Node]) -> NodeRun:
        if self._recorded.answer is None:
            return super()._run_of(work)
        return _RecordedNodeRun(work, self._script, self._log, self._recorded.answer, is_1_12=self._artifacts.is_1_12)


class _RecordedNodeRun(NodeRun):
    """The work of one call, of which each node says what it said when it was recorded.

    :param nodes: the nodes in their order.
    :param script: the rule that names the recording.
    :param log: the log of the call.
    :param answer: the recorded command.
    :param is_1_12: as for ``NodeRun``.
    """

    def __init__(self, nodes: list[Node], script: Script, log: Log, answer: Answer, *, is_1_12: bool) -> None:
        super().__init__(nodes, script, log, is_1_12=is_1_12)
        self._rows = answer.command.rows
        self._events = {
            name: events for name, events in answer.command.events_of().items() if self._is_as_recorded(name, events)
        }

    def _is_as_recorded(self, unique_id: str, events: list[dict[str, Any]]) -> bool:
        """Whether nobody has edited how the node ended since its events were recorded."""
        if unique_id not in self._rows:
            return False
        row, last = self._rows[unique_id], events[-1]
        if last["info"]["name"] == "SkippingDetails":
            return str(row["status"]) == "skipped"
        said = (last["data"].get("run_result") or {}).get("status")
        return last["info"]["name"] == "NodeFinished" and str(said) == str(row["status"])

    def _start(self, place: str, position: int, node: Node) -> None:
        if node.unique_id not in self._events:
            super()._start(place, position, node)
            return
        self._repeat(node, position, is_before_the_work=True)

    def _end(self, place: str, position: int, node: Node, outcome: dict[str, Any]) -> None:
        self._script.spend(self._rows.get(node.unique_id, {}).get("execution_time") or 0)
        if node.unique_id not in self._events:
            super()._end(place, position, node, outcome)
            return
        self._repeat(node, position, is_before_the_work=False)
        self._add_result(node, outcome)

    def _repeat(self, node: Node, position: int, *, is_before_the_work: bool) -> None:
        events = self._events[node.unique_id]
        names = [event["info"]["name"] for event in events]
        began = names.index("LogStartLine") + 1 if "LogStartLine" in names else 0
        for event in events[:began] if is_before_the_work else events[began:]:
            self._log.repeat(renumbered(event, position, len(self._nodes)))
