"""How is a timeline drawn where there is only text? One row for everything an actor did, bars on one clock."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_cosmos_venv.races.timeline import Span, Timeline

MAX_ROWS = 60
_LEAST_WIDTH = 60
_FIGURES = 20  # columns right of the bars: "+12.345 s  12.345 s"
_SMALLEST_SPAN = 0.001  # seconds the chart is wide, at least


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The characters of a chart.

    :param bar: something goes on.
    :param point: something happened and took no time.
    :param open_end: the end was not seen.
    """

    bar: str
    point: str
    open_end: str
    edge: str
    dots: str


BLOCKS = Marks(bar="█", point="◆", open_end="▶", edge="│", dots="…")
ASCII = Marks(bar="#", point="*", open_end=">", edge="|", dots=".")


@dataclass(frozen=True)
class Clock:
    """Seconds of the race to columns of the chart.

    :param start: the first moment, in seconds since the epoch.
    :param end: the last moment that is known.
    """

    start: float
    end: float

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Clock:
        """The clock on which all of these can be shown."""
        known = [time for span in spans for time in (span.started_at, span.ended_at) if time is not None]
        return cls(min(known), max(*known, min(known) + _SMALLEST_SPAN))

    def share(self, time: float | None) -> float:
        """0 for the first moment, 1 for the last; None, an end that was not seen, is the last."""
        return 1.0 if time is None else (time - self.start) / (self.end - self.start)


def draw(timeline: Timeline, *, width: int, ascii_only: bool | None) -> str:
    """The chart, at most ``width`` columns wide; parameters as for ``Timeline.draw``."""
    marks = ASCII if _must_be_ascii(ascii_only) else BLOCKS
    rows = rows_of(timeline)
    if not rows:
        return "(nothing was recorded)"
    clock, width = Clock.of(list(timeline)), max(width, _LEAST_WIDTH)
    label = min(max(len(name) for name, _ in rows), width // 3)
    bars = width - label - _FIGURES - len("  ||")
    lines = [_line(name, spans, clock, marks, label, bars) for name, spans in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        lines.append(f"{marks.dots} and {len(rows) - MAX_ROWS} more rows")
    return "\n".join([_ruler(clock, label, bars), *lines, _legend(timeline, marks)]).rstrip()


def rows_of(timeline: Timeline) -> list[tuple[str, Sequence[Span]]]:
    """Label and spans of each row: by actor, and of one actor by when it first did that."""
    rows: list[tuple[str, Sequence[Span]]] = []
    for actor in timeline.actors:
        by_name: dict[str, list[Span]] = {}
        for span in timeline.spans(actor=actor):
            by_name.setdefault(span.name, []).append(span)
        rows += [(f"{actor} {name}", spans) for name, spans in by_name.items()]
    return rows


def _line(name: str, spans: Sequence[Span], clock: Clock, marks: Marks, label: int, bars: int) -> str:
    shown = name if len(name) <= label else f"{name[: label - 1]}{marks.dots}"
    cells = [" "] * bars
    for span in spans:
        _paint(cells, span, clock, marks)
    return f"{shown:<{label}} {marks.edge}{''.join(cells)}{marks.edge} {_figures(spans, clock)}".rstrip()


def _paint(cells: list[str], span: Span, clock: Clock, marks: Marks) -> None:
    last = len(cells) - 1
    first = min(round(clock.share(span.started_at) * len(cells)), last)
    if span.is_point:
        cells[first] = marks.point
        return
    # A bar fills the columns up to the one in which it ends, so that what follows on it does not seem to overlap.
    stop = max(first + 1, round(clock.share(span.ended_at) * len(cells)))
    cells[first:stop] = [marks.bar] * (stop - first)
    if span.ended_at is None:
        cells[last] = marks.open_end


def _figures(spans: Sequence[Span], clock: Clock) -> str:
    begin = f"+{spans[0].started_at - clock.start:.3f} s"
    if len(spans) > 1:
        return f"{begin}  {len(spans)} times"
    if spans[0].is_point:
        return begin
    return f"{begin}  {'no end' if spans[0].seconds is None else f'{spans[0].seconds:.3f} s'}"


def _ruler(clock: Clock, label: int, bars: int) -> str:
    end = f"{clock.end - clock.start:.3f} s"
    return f"{'':<{label}}  0 s{end:>{bars - 3}}  begin   took"


def _legend(timeline: Timeline, marks: Marks) -> str:
    said = []
    if any(span.is_point for span in timeline):
        said.append(f"{marks.point} an event")
    if any(span.ended_at is None for span in timeline):
        said.append(f"{marks.open_end} no end was seen")
    return f"({', '.join(said)})" if said else ""


def _must_be_ascii(ascii_only: bool | None) -> bool:
    """What is drawn ends in pytest's report, so the terminal behind its capture counts."""
    if ascii_only is not None:
        return ascii_only
    encoding = getattr(sys.__stdout__, "encoding", None) or "ascii"
    try:
        "".join(vars(BLOCKS).values()).encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return True
    return False
