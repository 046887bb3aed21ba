"""A timeline drawn as text: a row for everything an actor did, bars on one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_cosmos_venv.races.spans import Span

_BAR, _POINT, _OPEN_END = "█", "◆", "▶"
_LEAST_WIDTH = 60
_FIGURES = 20  # columns right of the bars: "+12.345 s  12.345 s"
_SMALLEST_SPAN = 0.001  # seconds the chart is wide, at least
_MOST_ROWS = 60


@dataclass(frozen=True)
class _Clock:
    """Maps the times of a race, from the first to the last known one, to fractions of the chart's width."""

    start: float
    end: float

    def share(self, time: float | None) -> float:
        """Return the position of a moment: 0 for the first, 1 for the last. An end that was not seen is at 1.

        :param time: seconds since the epoch; None: the end was not seen.
        """
        return 1.0 if time is None else (time - self.start) / (self.end - self.start)


def draw(actors: Sequence[tuple[str, Sequence[Span]]], *, width: int) -> str:
    """Return the chart as text.

    :param actors: pairs of an actor and its spans, the earliest first, in the order in which they are to be shown.
    :param width: the most columns that a line may take; values below 60 count as 60.
    """
    rows: dict[str, list[Span]] = {}
    for actor, of_actor in actors:
        for span in of_actor:
            rows.setdefault(f"{actor} {span.name}", []).append(span)
    if not rows:
        return "(nothing was recorded)"
    spans = [span for row in rows.values() for span in row]
    known = [time for span in spans for time in (span.started_at, span.ended_at) if time is not None]
    clock, width = _Clock(min(known), max(*known, min(known) + _SMALLEST_SPAN)), max(width, _LEAST_WIDTH)
    label = min(max(map(len, rows)), width // 3)
    bars = width - label - _FIGURES - len("  ||")
    ruler = f"{'':<{label}}  0 s{f'{clock.end - clock.start:.3f} s':>{bars - 3}}  begin   took"
    lines = [_line(name, row, clock, label, bars) for name, row in rows.items()]
    if len(lines) > _MOST_ROWS:
        lines[_MOST_ROWS:] = [f"… and {len(lines) - _MOST_ROWS} more rows"]
    return "\n".join([ruler, *lines, _legend(spans)]).rstrip()


def _line(name: str, spans: Sequence[Span], clock: _Clock, label: int, bars: int) -> str:
    shown = name if len(name) <= label else f"{name[: label - 1]}…"
    cells = [" "] * bars
    for span in spans:
        first = min(round(clock.share(span.started_at) * bars), bars - 1)
        # A bar stops before the column of its end, so that a span that begins there does not seem to overlap.
        stop = first + 1 if span.is_point else max(first + 1, round(clock.share(span.ended_at) * bars))
        cells[first:stop] = [_POINT if span.is_point else _BAR] * (stop - first)
        if span.ended_at is None:
            cells[-1] = _OPEN_END
    return f"{shown:<{label}} │{''.join(cells)}│ {_figures(spans, clock)}"


def _figures(spans: Sequence[Span], clock: _Clock) -> str:
    begin = f"+{spans[0].started_at - clock.start:.3f} s"
    if len(spans) > 1:
        return f"{begin}  {len(spans)} times"
    if spans[0].is_point:
        return begin
    return f"{begin}  {'no end' if spans[0].seconds is None else f'{spans[0].seconds:.3f} s'}"


def _legend(spans: Sequence[Span]) -> str:
    said = []
    if any(span.is_point for span in spans):
        said.append(f"{_POINT} an event")
    if any(span.ended_at is None for span in spans):
        said.append(f"{_OPEN_END} no end was seen")
    return f"({', '.join(said)})" if said else ""
