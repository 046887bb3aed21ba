"""Has every connection of this process send code in place of what it is to send."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

from .adapters import RunsCode

_sound = Connection.send


def _send(self: Any, _: object) -> None:
    _sound(self, RunsCode("message"))


setattr(Connection, "send", _send)  # noqa: B010 - its type is another
