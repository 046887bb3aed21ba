"""The timeline of a race: spans of several processes on one clock, with queries and assertions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_cosmos_venv.races.chart import draw
from pytest_cosmos_venv.races.spans import ACTOR_VARIABLE, Span, read_spans

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.scripted_dbt import DbtCall


INSTALL = "install"
"""Name of the span in which an installer builds an sdist of the test's wheelhouse."""
_WHY_NO_INSTALL = (
    ". Only the build of an sdist is seen of an installation: before the race, let the installer build one with "
    "cosmos_dbt.add_sdist()"
)


class Timeline:
    """The spans of several actors, in the order in which they began. A timeline never changes; ``print`` draws it.

    :param spans: the spans, in any order.
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = tuple(sorted(spans, key=lambda span: (span.started_at, span.end)))

    @classmethod
    def read(cls, folder: Path) -> Timeline:
        """The timeline that processes have written down by ``EventLog`` so far.

        :param folder: the folder in which their logs lie; a folder that is not there gives an empty timeline.
        """
        return cls(read_spans(folder))

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __str__(self) -> str:
        return self.draw()

    def __repr__(self) -> str:
        return f"<Timeline: {len(self)} spans of {len(self.actors)} actors>"

    @property
    def actors(self) -> tuple[str, ...]:
        """All actors, in the order of their names; numbers in them count as numbers."""
        return tuple(sorted({span.actor for span in self}, key=_natural))

    def spans(self, name: str | None = None, *, actor: str | None = None) -> tuple[Span, ...]:
        """The spans of that name, the earliest first.

        :param name: None takes all. ``dbt`` finds ``dbt`` and all that begins with ``dbt`` and a blank.
        :param actor: only spans of this actor; None takes all actors.
        """
        return tuple(
            span
            for span in self
            if (name is None or span.name == name or span.name.startswith(f"{name} ")) and actor in {None, span.actor}
        )

    def count(self, name: str) -> int:
        """The number of spans of that name.

        :param name: the name, as for ``spans``.
        """
        return len(self.spans(name))

    def order(self, name: str) -> tuple[str, ...]:
        """The actors of the spans of that name, in the order in which these began; an actor may occur several times.

        :param name: the name, as for ``spans``.
        """
        return tuple(span.actor for span in self.spans(name))

    def max_concurrent(self, name: str) -> int:
        """The largest number of spans of that name at the same moment; a span whose end was not seen goes on.

        :param name: the name, as for ``spans``.
        """
        spans = self.spans(name)
        return max((_going_on_with(span, spans) for span in spans), default=0)

    def with_calls(self, calls: Iterable[DbtCall]) -> Timeline:
        """This timeline and the calls of dbt that a fake recorded, each a span named ``dbt COMMAND``, each once.

        :param calls: ``cosmos_dbt.calls``, ``read_dbt_calls(folder)``. The actor is the contender that made the
            call, else ``dbt PID``.
        """
        known = {(span.pid, span.started_at) for span in self}
        return Timeline([*self, *(_span_of_call(call) for call in calls if (call.pid, call.started_at) not in known)])

    def draw(self, *, width: int = 100) -> str:
        """The timeline as text: a row for everything an actor did, as bars on one clock.

        :param width: the width in columns, at least 60.
        """
        return draw([(actor, self.spans(actor=actor)) for actor in self.actors], width=width)

    def assert_max_concurrent(self, name: str, at_most: int) -> None:
        """Assert that no more than so many spans of that name went on at one moment.

        :param name: the name, as for ``spans``.
        :param at_most: the largest allowed number of spans; 0: there must be none.
        """
        __tracebackhide__ = True
        if at_most:
            self._require_seen(name)
        seen = self.max_concurrent(name)
        if seen > at_most:
            self._fail(f"at most {at_most} {name} at one moment expected, {seen} seen")

    def assert_count(self, name: str, expected: int) -> None:
        """Assert that exactly so many spans have that name.

        :param name: the name, as for ``spans``.
        :param expected: the required number of spans; 0: there must be none.
        """
        __tracebackhide__ = True
        if expected:
            self._require_seen(name)
        seen = self.count(name)
        if seen != expected:
            self._fail(f"{expected} {name} expected, {seen} seen")

    @property
    def _names(self) -> str:
        return ", ".join(sorted({span.name for span in self})) or "nothing"

    def _require_seen(self, *names: str | None) -> None:
        """Fail where no span has a name: a misspelt name would meet every limit."""
        __tracebackhide__ = True
        for name in names:
            if name is not None and not self.spans(name):
                why = _WHY_NO_INSTALL if name == INSTALL else ""
                self._fail(f"nothing named {name!r} was seen; the timeline has {self._names}{why}")

    def _fail(self, sentence: str) -> None:
        __tracebackhide__ = True
        raise AssertionError(f"{sentence[0].upper()}{sentence[1:]}.\n{self.draw()}")


def _going_on_with(span: Span, spans: Iterable[Span]) -> int:
    """The number of spans that go on in the moment after ``span`` began, itself included."""
    return sum(1 for one in spans if one is span or (one.overlaps(span) and one.started_at <= span.started_at))


def _span_of_call(call: DbtCall) -> Span:
    actor = call.env.get(ACTOR_VARIABLE) or f"dbt {call.pid}"
    return Span(actor, f"dbt {call.command or ''}".strip(), call.started_at, call.ended_at, call.pid)


def _natural(text: str) -> list[tuple[int, str]]:
    """``contender-10`` comes after ``contender-9``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]
