"""A replay: the calls of a fake dbt, answered from a recording that a test may edit meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_cosmos_venv.recordings.recording import Recording


@dataclass
class Replay:
    """Answers from a recording. An edit counts for the calls that begin from then on.

    :param recording: the recording as it is replayed now.
    """

    recording: Recording
    _use: Callable[[Recording], None] = field(repr=False)

    def __post_init__(self) -> None:
        self._use(self.recording)

    def fail(self, node: str, message: str | None = None) -> None:
        """Let a node fail, and what lies behind it be skipped as dbt skips it.

        :param node: the unique id or the name of the node.
        :param message: what the database said; None: a sentence that says that a test wants it so.
        :raises ToolkitMisuse: no recorded command ran such a node.
        """
        self._take(self.recording.fail(node, message))

    def warn(self, node: str, message: str | None = None) -> None:
        """Let a test warn.

        :param node: the unique id or the name of the test.
        :param message: its message; None: dbt's own.
        :raises ToolkitMisuse: no recorded command ran such a node, or it is no test.
        """
        self._take(self.recording.warn(node, message))

    def skip(self, node: str) -> None:
        """Let a node be skipped, and what lies behind it too.

        :param node: the unique id or the name of the node.
        :raises ToolkitMisuse: no recorded command ran such a node.
        """
        self._take(self.recording.skip(node))

    def end(self, node: str, status: str, message: str | None = None, *, failures: int | None = None) -> None:
        """Let a node end otherwise.

        :param node: the unique id or the name of the node.
        :param status: the status, such as ``partial success``.
        :param message: its message; None: dbt's own for such a status.
        :param failures: the number of rows that a test found; None: one where it fails or warns.
        :raises ToolkitMisuse: no recorded command ran such a node, or it cannot end so.
        """
        self._take(self.recording.end(node, status, message, failures=failures))

    def _take(self, recording: Recording) -> None:
        self.recording = recording
        self._use(recording)
