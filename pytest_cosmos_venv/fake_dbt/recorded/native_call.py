"""A call of dbt 2 that a recording answers."""

from __future__ import annotations

from typing import Any

from ..command_line import Invocation
from ..native.call import NativeCall
from ..native.command_line import NativeInvocation
from ..project import Node, Project
from ..script import Script
from .playing import RecordedCommands


class RecordedNativeCall(NativeCall):
    """One call: repeated word for word where it was recorded so, else put together from what was recorded of its nodes.

    :param invocation: the command line.
    :param script: the rule that names the recording.
    :param installed: ``core`` and names of adapters -> their versions.
    """

    def __init__(self, invocation: Invocation, script: Script, installed: dict[str, str]) -> None:
        super().__init__(invocation, script, installed)
        self._recorded = RecordedCommands.of(invocation, script, NativeInvocation, self._folder, self._target)
        self._rows: dict[str, dict[str, Any]] = {}
        if self._recorded.answer is not None and self._recorded.project is not None:
            self._rows = self._recorded.answer.command.rows
            self._artifacts.scripted.update(script.artifacts)

    def run(self) -> int:
        """Do everything, and return the exit code. Errors are those of ``RecordedCommands.repeat``."""
        exit_code = self._recorded.repeat(self._invocation, self._script, self._target)
        return super().run() if exit_code is None else exit_code

    def _read_nodes(self) -> Project:
        project = self._recorded.project
        return super()._read_nodes() if project is None else project

    def _end(self, node: Node, outcome: dict[str, Any], seconds: float, trouble: str | None = None) -> None:
        row = self._rows.get(node.unique_id)
        if row is not None:
            seconds = row.get("execution_time") or 0.0
            self._script.spend(seconds)
        super()._end(node, outcome, seconds, trouble)
