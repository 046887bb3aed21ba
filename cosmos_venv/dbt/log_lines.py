"""Lines of dbt's output or log: their messages, and the nodes that they are about.

dbt's text format and its JSON format (``--log-format json``) have the same messages. In JSON, dbt 1.5 to 2 name
the node of each event in the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cosmos_venv.dbt.native.output import without_stack
from cosmos_venv.files.read_limits import decoded

FAILED_STATUSES = frozenset({"error", "fail", "partial success", "runtime error"})
"""dbt's statuses of a node that has failed."""
WARNED = "warn"
"""dbt's status of a test that has found something and does not fail."""
NOT_BUILT_STATUSES = frozenset({"no-op", "reused"})
"""dbt's statuses of a node that it has not built, and that counts as done: ``reused`` comes from plugins such as dbt
State."""
DONE_STATUSES = frozenset({"success", "pass", WARNED}) | NOT_BUILT_STATUSES
"""dbt's statuses of a node that need not run again."""

SUCCESS, FAILED, SKIPPED = "success", "failed", "skipped"
"""Airflow's states of a task; the status of a node is mapped to one of them."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d+)?(?=\s|$)")
_TIME_OF_DAY = slice(11, 19)  # of an ISO time
_BEGUN = frozenset({"started", "compiling", "executing"})
_OF_A_PART = "LogBatchResult"  # of a microbatch model, which goes on
_OF_A_RUNNER = "NodeFinished"  # of a node, and of each part of a microbatch model under the model's own id
_THREAD_OF_DBT_2 = "tokio-rt-worker"
_NO_STATUS = "none"  # of dbt 1, in lines that repeat an earlier message


class NodeOutcome(msgspec.Struct, frozen=True, array_like=True):
    """How a node has ended.

    :param status: of the node by dbt.
    :param try_number: the try of the task that has run the node.
    :param message: of dbt; empty where it has none.
    :param seconds: how long the node took; 0: dbt has not reported it.
    :param rows: number of rows that the node changed, or found as a test; None: dbt has not reported it.
    """

    status: str
    try_number: int = 1
    message: str = ""
    seconds: float = 0.0
    rows: int | None = None

    @property
    def state(self) -> str:
        """``success``, ``failed`` or ``skipped``."""
        if self.status in DONE_STATUSES:
            return SUCCESS
        return SKIPPED if self.status == SKIPPED else FAILED

    @property
    def has_news(self) -> bool:
        """Whether there is more to tell of the node than that it is done."""
        return self.state != SUCCESS or self.status == WARNED


class NodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event in JSON about one node.

    :param name: of the event, such as ``LogBatchResult``.
    :param thread: in which dbt ran the node, or this batch of it.
    :param unique_id: of the node.
    :param status: of the node by dbt, such as ``started`` or ``success``; empty where the event has none.
    :param text: what dbt would have written in its text format, without colours; empty for an event that the log level
        hides.
    :param data: all that belongs to an event of this name.
    """

    name: str
    thread: str
    unique_id: str
    status: str
    text: str
    data: Mapping[str, Any]

    @property
    def is_end(self) -> bool:
        """Whether it says how the node has ended."""
        if not self.status or self.status in _BEGUN or self.name == _OF_A_PART:
            return False
        # A microbatch model is not done when one part is done. A node that is done also has an event with its result.
        return self.name != _OF_A_RUNNER or self.status not in DONE_STATUSES

    @property
    def seconds(self) -> float:
        """How long the node took; 0 where the event does not say it."""
        found = self.data.get("execution_time")
        return float(found) if isinstance(found, int | float) else 0.0


def message(line: str) -> str:
    """The line as in the text format, without colours. For an event in JSON this is its message.

    :param line: of dbt's output or log.
    """
    event = _event(line)
    return without_colour(line) if event is None else _text(event)


def logged_text(line: str, *, with_debug: bool = False) -> str | None:
    """The line as the text format would have shown it, with its time; None for an event that it does not show.

    :param line: of the output of a dbt that writes JSON. A line that is no event (of another program) is not changed.
    :param with_debug: whether events of level debug were asked for.
    """
    event = _event(line)
    if event is None:
        return line
    if not with_debug and _is_unasked(event):
        return None
    return f"{str(event['info'].get('ts', ''))[_TIME_OF_DAY]}  {_text(event)}"


def is_unasked(line: str) -> bool:
    """Whether the line is an event of level debug of dbt 2, which writes such events at any log level.

    :param line: of dbt's output.
    """
    event = _event(line)
    return event is not None and _is_unasked(event)


def error_in(line: str) -> str | None:
    """The message of an event of level error in JSON; None for any other line.

    :param line: of dbt's output or log.
    """
    event = _event(line)
    # The stack of dbt's own code says nothing that the message before it does not.
    if event is None or event["info"].get("level") != "error" or event["info"].get("name") == "MainStackTrace":
        return None
    return message(line).strip()


def node_event(line: str) -> NodeEvent | None:
    """The event of a node in JSON; None for any other line.

    :param line: of dbt's output or log.
    """
    event = _event(line)
    data = event.get("data") if event else None
    node = data.get("node_info") if isinstance(data, dict) else None
    if event is None or data is None or not isinstance(node, dict) or not node.get("unique_id"):
        return None
    info = event["info"]
    return NodeEvent(
        name=str(info.get("name")),
        thread=str(info.get("thread")),
        unique_id=str(node["unique_id"]),
        status=_status(node.get("node_status")),
        text="" if _is_unasked(event) else _text(event),
        data=data,
    )


def event_of_runner(event: Any) -> NodeEvent | None:
    """The event of a node as ``dbtRunner`` gives it to a callback; None for an event of no node.

    :param event: ``EventMsg`` of dbt 1, a protobuf message.
    """
    data: Any = getattr(event, "data", None)
    node: Any = getattr(data, "node_info", None)
    if not getattr(node, "unique_id", ""):
        return None
    return NodeEvent(
        name=str(event.info.name),
        thread=str(event.info.thread),
        unique_id=str(node.unique_id),
        status=_status(node.node_status),
        # A callback gets events of level debug too, with the SQL of each query.
        text="" if getattr(event.info, "level", "") == "debug" else without_colour(str(event.info.msg)),
        data={
            "execution_time": getattr(data, "execution_time", 0.0),
            "node_info": {"node_path": getattr(node, "node_path", "")},
        },
    )


def without_time(line: str) -> str:
    """The line without indentation and without its time, so that two lines with one message are equal.

    :param line: of dbt's output or log.
    """
    return _TIME.sub("", line.strip(), count=1).strip() if line[:1].isdigit() else line.strip()


def without_colour(text: str) -> str:
    """The text without the sequences that colour it on a terminal.

    :param text: of dbt.
    """
    return _COLOUR.sub("", text)


def _is_unasked(event: Mapping[str, Any]) -> bool:
    # dbt 1 writes only events that were asked for. The events of the two differ in the name of the thread alone.
    return (event["info"].get("level"), event["info"].get("thread")) == ("debug", _THREAD_OF_DBT_2)


def _text(event: Mapping[str, Any]) -> str:
    return without_stack(without_colour(str(event["info"]["msg"])))


def _status(given: object) -> str:
    status = str(given or "").lower()
    return "" if status == _NO_STATUS else status


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{") or '"info"' not in line:
        return None
    try:
        event = decoded(line, json.loads)
        info = event["info"]
    except (ValueError, KeyError, TypeError):
        return None  # of another program, or a node that dbt ls lists
    return event if isinstance(info, dict) and "msg" in info else None
