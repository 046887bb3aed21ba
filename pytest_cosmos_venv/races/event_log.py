"""How do processes that know nothing of each other write one timeline? Each a file of its own in one folder.

A line is written by one system call, so a process that is killed leaves whole lines, and a reader may look at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.races.timeline import ACTOR_VARIABLE, Span


class EventLog:
    """Writes down what this process does. May be made before a fork: each process writes a file of its own.

    :param folder: where the files lie; made when missing.
    :param actor: who does it. Default: the contender that this process is or was started by, else ``pid N``.
    """

    def __init__(self, folder: Path, *, actor: str | None = None) -> None:
        self.folder = folder
        self._actor = actor

    @property
    def actor(self) -> str:
        """Who does what is written."""
        return self._actor or os.environ.get(ACTOR_VARIABLE) or f"pid {os.getpid()}"

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """What the block does takes time: its begin and its end are written, the end also when it raises."""
        # Random: other logs of this process, and an earlier process that had its PID, write into the same file.
        key = os.urandom(8).hex()
        self._write({"event": "begin", "key": key, "actor": self.actor, "name": name, "at": real_time.now()})
        try:
            yield
        finally:
            self._write({"event": "end", "key": key, "at": real_time.now()})

    def point(self, name: str) -> None:
        """Something happens now and takes no time."""
        at = real_time.now()
        self._write({"event": "point", "actor": self.actor, "name": name, "at": at})

    def _write(self, event: Mapping[str, object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({**event, "pid": os.getpid()}) + "\n"
        descriptor = os.open(self.folder / f"{os.getpid()}.events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_spans(folder: Path) -> list[Span]:
    """Everything that ``EventLog`` has written in ``folder`` so far; a line that is still being written is left out."""
    return [span for file in sorted(folder.glob("*.events.jsonl")) for span in _spans_of(file)]


def _spans_of(file: Path) -> list[Span]:
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    begun: dict[str, dict[str, Any]] = {}
    spans = []
    for event in map(json.loads, lines):
        if event["event"] == "begin":
            begun[event["key"]] = event
        elif event["event"] == "end" and event["key"] in begun:
            spans.append(_span(begun.pop(event["key"]), event["at"]))
        elif event["event"] == "point":
            spans.append(_span(event, event["at"]))
    return [*spans, *(_span(event, None) for event in begun.values())]


def _span(event: Mapping[str, Any], ended_at: float | None) -> Span:
    return Span(event["actor"], event["name"], event["at"], ended_at, event["pid"])
