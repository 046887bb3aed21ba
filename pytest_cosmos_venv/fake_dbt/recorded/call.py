"""A call of dbt 1 that a recording answers."""

from __future__ import annotations

from typing import Any

from ..call import Call
from ..command_line import Invocation
from ..log import Log
from ..node_run import NodeRun
from ..project import Node, Project
from ..script import Script, ScriptError
from .playing import fill_script, play, renumbered
from .recording import WITHOUT_NODES, Answer, Places, find_answer, read_recording, unmatched_message


class RecordedCall(Call):
    """One call: repeated word for word where it was recorded so, else put together from what was recorded of its nodes.

    :param invocation: the command line.
    :param script: the rule that names the recording.
    :param installed: ``core`` and names of adapters -> their versions.
    """

    def __init__(self, invocation: Invocation, script: Script, installed: dict[str, str]) -> None:
        super().__init__(invocation, script, installed)
        assert script.recording is not None  # else it is no such call
        self._commands = read_recording(script.recording, Invocation)
        self._found = find_answer(self._commands, invocation, script, self._folder)
        self._places = Places.of(invocation, self._folder, self._target)
        if self._found is not None and self._found.project is not None:
            chosen = {node.unique_id for node in self._found.project.work(invocation, with_added=False)}
            fill_script(self._found, script, self._places, chosen)
            self._artifacts.scripted.update(script.artifacts)

    def run(self) -> int:
        """Do everything, and return the exit code.

        :raises ScriptError: no recorded command answers the call.
        """
        if self._found is not None and self._found.project is None:
            return play(self._found.command, self._script, self._places, self._target)
        if self._found is None and self._command not in WITHOUT_NODES:
            raise ScriptError(unmatched_message(self._commands, self._invocation))
        return super().run()

    def _read_nodes(self) -> Project:
        if self._found is None or self._found.project is None:
            return super()._read_nodes()
        return self._found.project

    def _say_adapter(self) -> None:
        if not self._repeat("AdapterRegistered"):
            super()._say_adapter()

    def _say_found(self, project: Project) -> None:
        if not self._repeat("FoundStats"):
            super()._say_found(project)

    def _repeat(self, name: str) -> bool:
        """Say an event as it was recorded; False where it was not."""
        event = None if self._found is None else self._found.command.event(name)
        if event is not None:
            self._log.repeat(event)
        return event is not None

    def _run_of(self, work: list[Node]) -> NodeRun:
        if self._found is None:
            return super()._run_of(work)
        return _RecordedNodeRun(work, self._script, self._log, self._found, is_1_12=self._artifacts.is_1_12)


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
