"""What does one line of dbt's output or log say? The same in its text format and in its JSON format."""

from __future__ import annotations

import json
import re
from typing import Any

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def message(line: str) -> str:
    """The line as the text format has it, without colours: of an event in JSON (``log_format: json``) its message."""
    event = _event(line)
    return without_colour(line if event is None else str(event.get("msg", "")))


def error(line: str) -> str | None:
    """The message of an event of level error in JSON; None for any other line."""
    event = _event(line)
    # The stack of dbt's own code says nothing that the message before it does not.
    if event is None or event.get("level") != "error" or event.get("name") == "MainStackTrace":
        return None
    return message(line).strip()


def without_colour(text: str) -> str:
    """The text without the sequences that colour it on a terminal."""
    return _COLOUR.sub("", text)


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{") or '"info"' not in line:
        return None
    try:
        info = json.loads(line)["info"]
    except (ValueError, KeyError, TypeError):
        return None  # of another program, or a node that dbt ls lists
    return info if isinstance(info, dict) and "msg" in info else None
