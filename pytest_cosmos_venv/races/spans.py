"""The spans of a race: what several processes did, and when. ``EventLog`` writes spans, ``read_spans`` reads them.

Each process writes into a file of its own. A line is written by one system call: a process that is killed leaves whole
lines, and a reader may look at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.fake_dbt.whole_writes import append_line, read_lines

ACTOR_VARIABLE = "COSMOS_RACE_ACTOR"
"""The variable by which a call of dbt is assigned to the contender that started it."""


class EventLog:
    """Writes down what this process does. It may be made before a fork: each process writes a file of its own.

    :param folder: the folder in which the files lie; made when missing.
    :param actor: the name of the actor. None: the contender of this process or of its ancestors, else ``pid N``.
    """

    def __init__(self, folder: Path, *, actor: str | None = None) -> None:
        self.folder = folder
        self._actor = actor

    @property
    def actor(self) -> str:
        """The name of the actor in all that is written."""
        return self._actor or os.environ.get(ACTOR_VARIABLE) or f"pid {os.getpid()}"

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Write down when the block begins and when it ends, also when it raises.

        :param name: the name of the span.
        """
        # Random, because other logs of this process and an earlier process with this PID write into the same file.
        key = os.urandom(8).hex()
        self._write({"event": "begin", "key": key, "actor": self.actor, "name": name, "at": real_time.now()})
        try:
            yield
        finally:
            self._write({"event": "end", "key": key, "at": real_time.now()})

    def point(self, name: str) -> None:
        """Write down an event: something happens now and takes no time.

        :param name: the name of the event.
        """
        at = real_time.now()
        self._write({"event": "point", "actor": self.actor, "name": name, "at": at})

    def _write(self, event: Mapping[str, object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        append_line(self.folder / f"{os.getpid()}.events.jsonl", {**event, "pid": os.getpid()})


def read_spans(folder: Path) -> list[Span]:
    """Everything that ``EventLog`` has written so far; a line that is still being written is left out.

    :param folder: the folder in which the logs lie.
    """
    return [span for file in sorted(folder.glob("*.events.jsonl")) for span in _spans_of(file)]


def _spans_of(file: Path) -> list[Span]:
    begun: dict[str, dict[str, Any]] = {}
    spans = []
    for event in read_lines(file):
        if event["event"] == "begin":
            begun[event["key"]] = event
        elif event["event"] == "end" and event["key"] in begun:
            spans.append(_span(begun.pop(event["key"]), event["at"]))
        elif event["event"] == "point":
            spans.append(_span(event, event["at"]))
    return [*spans, *(_span(event, None) for event in begun.values())]


def _span(event: Mapping[str, Any], ended_at: float | None) -> Span:
    return Span(event["actor"], event["name"], event["at"], ended_at, event["pid"])


@dataclass(frozen=True)
class Span:
    """One thing that one actor did.

    :param actor: name of the actor: ``contender-0``.
    :param name: what the actor did: ``install``, ``dbt run``. A query for ``dbt`` also finds ``dbt run``.
    :param started_at: seconds since the epoch, as ``time.time()`` gives them.
    :param ended_at: seconds since the epoch; equal to ``started_at`` for an event that takes no time; None when the end
        was not seen: the process was killed, or the span was still going on.
    :param pid: PID of the process that did it; None where that is not known.
    """

    actor: str
    name: str
    started_at: float
    ended_at: float | None = None
    pid: int | None = None

    @property
    def seconds(self) -> float | None:
        """The length in seconds; None when the end was not seen."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    @property
    def is_point(self) -> bool:
        """Whether it took no time: an event."""
        return self.ended_at == self.started_at

    @property
    def end(self) -> float:
        """The end in seconds since the epoch; infinity when it was not seen."""
        return inf if self.ended_at is None else self.ended_at

    def overlaps(self, other: Span) -> bool:
        """Whether both spans have a moment in common. A span that begins when the other ends does not overlap it.

        :param other: a span of any actor.
        """
        return self.started_at < other.end and other.started_at < self.end

    def __str__(self) -> str:
        if self.is_point:
            return f"{self.actor} {self.name}"
        return f"{self.actor} {self.name} ({'no end seen' if self.seconds is None else f'{self.seconds:.3f} s'})"
