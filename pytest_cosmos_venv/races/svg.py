"""How is a timeline drawn as a picture? An SVG file that needs nothing else and follows the reader's light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from pytest_cosmos_venv.races.chart import Clock, rows_of

if TYPE_CHECKING:
    from pytest_cosmos_venv.races.timeline import Span, Timeline

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


def to_svg(timeline: Timeline, *, title: str) -> str:
    """The picture as text; parameters as for ``Timeline.to_svg``."""
    rows = rows_of(timeline)
    height = _TOP + max(len(rows), 1) * _ROW + _MARGIN
    heading = title or "Timeline"
    inside = _rows(timeline, rows, height) if rows else [_text(_MARGIN, _TOP + _BAR, "nothing was recorded")]
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


def _rows(timeline: Timeline, rows: Sequence[tuple[str, Sequence[Span]]], height: int) -> list[str]:
    clock = Clock.of(list(timeline))
    left = _MARGIN * 2 + int(min(max(len(label) for label, _ in rows), _LABEL_LETTERS) * _LETTER)
    colours = {name: at % _COLOURS for at, name in enumerate(dict.fromkeys(span.name for span in timeline))}
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
    tip = f"<title>{_safe(str(span))}, at +{span.started_at - clock.start:.3f} s{_pid(span)}</title>"
    if span.is_point:
        y = top + _BAR / 2
        return f'<path class="c{colour}" d="M{x:.1f} {y - 6} l6 6 l-6 6 l-6 -6z">{tip}</path>'
    width = max((clock.share(span.ended_at) - clock.share(span.started_at)) * room, 2)
    style = f"c{colour} open" if span.ended_at is None else f"c{colour}"
    return f'<rect class="{style}" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2">{tip}</rect>'


def _pid(span: Span) -> str:
    return "" if span.pid is None else f", PID {span.pid}"


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{_safe(text)}</text>'


def _safe(text: str) -> str:
    """XML knows no way to write most control characters; names come from anybody."""
    return escape("".join(letter if letter.isprintable() else "�" for letter in text))
