"""A call of dbt 2 that a recording answers."""

from __future__ import annotations

from typing import Any

from ..command_line import Invocation
from ..native.call import NativeCall
from ..native.command_line import NativeInvocation
from ..project import Node, Project
from ..script import Script, ScriptError
from .playing import fill_script, play
from .recording import WITHOUT_NODES, Places, find_answer, read_recording, unmatched_message


class RecordedNativeCall(NativeCall):
    """One call: repeated word for word where it was recorded so, else put together from what was recorded of its nodes.

    :param invocation: the command line.
    :param script: the rule that names the recording.
    :param installed: ``core`` and names of adapters -> their versions.
    """

    def __init__(self, invocation: Invocation, script: Script, installed: dict[str, str]) -> None:
        super().__init__(invocation, script, installed)
        assert script.recording is not None  # else it is no such call
        self._commands = read_recording(script.recording, NativeInvocation)
        self._found = find_answer(self._commands, invocation, script, self._folder)
        self._places = Places.of(invocation, self._folder, self._target)
        self._rows: dict[str, dict[str, Any]] = {}
        if self._found is not None and self._found.project is not None:
            self._rows = self._found.command.rows
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

    def _end(self, node: Node, outcome: dict[str, Any], seconds: float, trouble: str | None = None) -> None:
        row = self._rows.get(node.unique_id)
        if row is not None:
            seconds = row.get("execution_time") or 0.0
            self._script.spend(seconds)
        super()._end(node, outcome, seconds, trouble)
