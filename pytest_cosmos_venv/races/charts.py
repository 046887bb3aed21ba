"""A timeline drawn as text and as an SVG picture: a row for everything an actor did, bars on one clock.

The picture is one file that needs nothing else, and follows the reader's light or dark.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_cosmos_venv.races.event_log import Span

    Rows = Sequence[tuple[str, Sequence[Span]]]


MAX_ROWS = 60
_LEAST_WIDTH = 60
_FIGURES = 20  # columns right of the bars: "+12.345 s  12.345 s"
_SMALLEST_SPAN = 0.001  # seconds the chart is wide, at least
_WIDTH, _ROW, _BAR, _TOP, _MARGIN = 960, 24, 14, 56, 12
_LETTER = 7.3  # pixels, of the font below
_LABEL_LETTERS = 44
_STYLE = """
text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1f2328; }
.title { font-weight: 600; font-size: 14px; }
.paper { fill: #ffffff; } .grid { stroke: #d1d9e0; } .faint { fill: #59636e; }
.c0 { fill: #0969da; } .c1 { fill: #bc4c00; } .c2 { fill: #1a7f37; } .c3 { fill: #8250df; }
.c4 { fill: #bf3989; } .c5 { fill: #9a6700; } .open { fill-opacity: .45; stroke: #cf222e; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .paper { fill: #0d1117; } .grid { stroke: #3d444d; } .faint { fill: #9198a1; }
  .c0 { fill: #4493f8; } .c1 { fill: #f0883e; } .c2 { fill: #3fb950; } .c3 { fill: #ab7df8; }
  .c4 { fill: #db61a2; } .c5 { fill: #d29922; } .open { stroke: #f85149; }
}
"""
_COLOURS = 6
_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The characters of a chart.

    :param bar: something goes on.
    :param point: something happened and took no time.
    :param open_end: the end was not seen.
    :param edge: stands left and right of the bars.
    :param dots: stands for what is left out.
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
    """Translates times of a race into shares of the chart's width.

    :param start: the first moment, in seconds since the epoch.
    :param end: the last moment that is known, in seconds since the epoch.
    """

    start: float
    end: float

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Clock:
        """The clock on which all of these spans can be shown.

        :param spans: at least one.
        """
        known = [time for span in spans for time in (span.started_at, span.ended_at) if time is not None]
        return cls(min(known), max(*known, min(known) + _SMALLEST_SPAN))

    def share(self, time: float | None) -> float:
        """The position of a moment: 0 for the first, 1 for the last.

        :param time: seconds since the epoch; None, an end that was not seen, is the last moment.
        """
        return 1.0 if time is None else (time - self.start) / (self.end - self.start)


def draw(actors: Rows, *, width: int, ascii_only: bool | None) -> str:
    """The chart as text.

    :param actors: pairs of an actor and its spans, in the order in which they are to be shown.
    :param width: the width in columns, the most that a line may take; at least 60 are taken.
    :param ascii_only: whether to do without block characters; None finds out what the terminal can show.
    """
    marks = ASCII if _must_be_ascii(ascii_only) else BLOCKS
    rows = rows_of(actors)
    if not rows:
        return "(nothing was recorded)"
    spans = _in_order(rows)
    clock, width = Clock.of(spans), max(width, _LEAST_WIDTH)
    label = min(max(len(name) for name, _ in rows), width // 3)
    bars = width - label - _FIGURES - len("  ||")
    lines = [_line(name, spans, clock, marks, label, bars) for name, spans in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        lines.append(f"{marks.dots} and {len(rows) - MAX_ROWS} more rows")
    return "\n".join([_ruler(clock, label, bars), *lines, _legend(spans, marks)]).rstrip()


def rows_of(actors: Rows) -> list[tuple[str, Sequence[Span]]]:
    """Label and spans of each row: by actor, and for one actor by the moment when it first did that.

    :param actors: pairs of an actor and its spans, each with the earliest span first.
    """
    rows: list[tuple[str, Sequence[Span]]] = []
    for actor, spans in actors:
        by_name: dict[str, list[Span]] = {}
        for span in spans:
            by_name.setdefault(span.name, []).append(span)
        rows += [(f"{actor} {name}", several) for name, several in by_name.items()]
    return rows


def _in_order(rows: Rows) -> list[Span]:
    return sorted((span for _, spans in rows for span in spans), key=lambda span: (span.started_at, span.end))


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


def _legend(spans: Sequence[Span], marks: Marks) -> str:
    said = []
    if any(span.is_point for span in spans):
        said.append(f"{marks.point} an event")
    if any(span.ended_at is None for span in spans):
        said.append(f"{marks.open_end} no end was seen")
    return f"({', '.join(said)})" if said else ""


def _must_be_ascii(ascii_only: bool | None) -> bool:
    """Whether only ASCII can be shown. A chart ends in pytest's report, so the terminal behind its capture counts."""
    if ascii_only is not None:
        return ascii_only
    encoding = getattr(sys.__stdout__, "encoding", None) or "ascii"
    try:
        "".join(vars(BLOCKS).values()).encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return True
    return False


def to_svg(actors: Rows, *, title: str) -> str:
    """The chart as the text of an SVG file.

    :param actors: pairs of an actor and its spans, in the order in which they are to be shown.
    :param title: stands above the chart; empty: ``Timeline``.
    """
    rows = rows_of(actors)
    height = _TOP + max(len(rows), 1) * _ROW + _MARGIN
    heading = title or "Timeline"
    inside = _rows(rows, height) if rows else [_text(_MARGIN, _TOP + _BAR, "nothing was recorded")]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img"'
            f' aria-label="{_safe(heading)}">',
            f"<title>{_safe(heading)}</title><style>{_STYLE}</style>",
            f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
            _text(_MARGIN, 22, heading, "title"),
            *inside,
            "</svg>\n",
        ]
    )


def _rows(rows: Rows, height: int) -> list[str]:
    ordered = _in_order(rows)
    clock = Clock.of(ordered)
    left = _MARGIN * 2 + int(min(max(len(label) for label, _ in rows), _LABEL_LETTERS) * _LETTER)
    colours = {name: at % _COLOURS for at, name in enumerate(dict.fromkeys(span.name for span in ordered))}
    parts = _grid(clock, left, height)
    for at, (label, spans) in enumerate(rows):
        top = _TOP + at * _ROW
        shown = label if len(label) <= _LABEL_LETTERS else f"{label[: _LABEL_LETTERS - 1]}…"
        parts.append(_text(_MARGIN, top + _BAR - 2, shown))
        parts += [_bar(span, clock, left, top, colours[span.name]) for span in spans]
    return parts


def _grid(clock: Clock, left: int, height: int) -> list[str]:
    parts = []
    for tick in range(_TICKS + 1):
        x = left + (_WIDTH - _MARGIN - left) * tick / _TICKS
        anchor = ("start", "middle", "end")[(tick > 0) + (tick == _TICKS)]
        seconds = (clock.end - clock.start) * tick / _TICKS
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{height - _MARGIN}"/>')
        parts.append(f'<text class="faint" x="{x:.1f}" y="{_TOP - 14}" text-anchor="{anchor}">{seconds:.3f} s</text>')
    return parts


def _bar(span: Span, clock: Clock, left: int, top: int, colour: int) -> str:
    room = _WIDTH - _MARGIN - left
    x = left + clock.share(span.started_at) * room
    pid = "" if span.pid is None else f", PID {span.pid}"
    tip = f"<title>{_safe(str(span))}, at +{span.started_at - clock.start:.3f} s{pid}</title>"
    if span.is_point:
        y = top + _BAR / 2
        return f'<path class="c{colour}" d="M{x:.1f} {y - 6} l6 6 l-6 6 l-6 -6z">{tip}</path>'
    width = max((clock.share(span.ended_at) - clock.share(span.started_at)) * room, 2)
    style = f"c{colour} open" if span.ended_at is None else f"c{colour}"
    return f'<rect class="{style}" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2">{tip}</rect>'


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{_safe(text)}</text>'


def _safe(text: str) -> str:
    """XML knows no way to write most control characters; names come from anybody."""
    return escape("".join(letter if letter.isprintable() else "�" for letter in text))
