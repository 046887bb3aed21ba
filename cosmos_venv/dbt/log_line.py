"""What does one line of dbt's output or log say? The same in its text format and in its JSON format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cosmos_venv.limits import decoded

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d+)?(?=\s|$)")


def message(line: str) -> str:
    """The line as the text format has it, without colours: of an event in JSON (``log_format: json``) its message."""
    event = _event(line)
    return without_colour(line if event is None else str(event["info"]["msg"]))


def error(line: str) -> str | None:
    """The message of an event of level error in JSON; None for any other line."""
    event = _event(line)
    # The stack of dbt's own code says nothing that the message before it does not.
    if event is None or event["info"].get("level") != "error" or event["info"].get("name") == "MainStackTrace":
        return None
    return message(line).strip()


@dataclass(frozen=True, kw_only=True)
class NodeEvent:
    """What an event in JSON says of one node.

    :param name: of the event, such as ``LogBatchResult``.
    :param thread: in which dbt ran the node, or this batch of it.
    :param data: all that belongs to an event of this name.
    """

    name: str
    thread: str
    unique_id: str
    data: Mapping[str, Any]


def node_event(line: str) -> NodeEvent | None:
    """The event of a node in JSON; None for any other line."""
    event = _event(line)
    data = event.get("data") if event else None
    node = data.get("node_info") if isinstance(data, dict) else None
    if event is None or data is None or not isinstance(node, dict) or not node.get("unique_id"):
        return None
    info = event["info"]
    return NodeEvent(
        name=str(info.get("name")), thread=str(info.get("thread")), unique_id=str(node["unique_id"]), data=data
    )


def bare(line: str) -> str:
    """The line without what differs where the same is said again: indentation and the time before it."""
    return _TIME.sub("", line.strip(), count=1).strip() if line[:1].isdigit() else line.strip()


def without_colour(text: str) -> str:
    """The text without the sequences that colour it on a terminal."""
    return _COLOUR.sub("", text)


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{") or '"info"' not in line:
        return None
    try:
        event = decoded(line, json.loads)
        info = event["info"]
    except (ValueError, KeyError, TypeError):
        return None  # of another program, or a node that dbt ls lists
    return event if isinstance(info, dict) and "msg" in info else None
