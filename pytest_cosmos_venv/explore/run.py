"""One schedule as a test sees it: what became of the contenders, their timeline, and their steps as a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.explore.contender import BEGIN, END, POINT
from pytest_cosmos_venv.explore.steps import GO, KILL, ExploredStep
from pytest_cosmos_venv.races.meeting import contender_name
from pytest_cosmos_venv.races.result import Outcome
from pytest_cosmos_venv.races.spans import Span
from pytest_cosmos_venv.races.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

_NARROWEST = 24
_WIDEST = 50
_RANDOM_NAME = re.compile(r"([0-9a-f]{6})[0-9a-f]{10,}")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One schedule that was run.

    :param outcomes: what became of each contender.
    :param steps: all steps, in the order in which they were made.
    :param folder: the explored folder; it is there while ``check`` looks at it.
    :param divergence: where a repeated schedule could not be followed; empty: nowhere.
    """

    outcomes: tuple[Outcome, ...]
    steps: tuple[ExploredStep, ...]
    folder: Path
    divergence: str = ""

    @property
    def values(self) -> tuple[Any, ...]:
        """The return values of the contenders' functions; None for a function that did not return."""
        return tuple(outcome.value for outcome in self.outcomes)

    @property
    def killed(self) -> tuple[str, ...]:
        """The names of the contenders that were killed."""
        return tuple(outcome.actor for outcome in self.outcomes if outcome.signal is not None)

    @property
    def timeline(self) -> Timeline:
        """The spans and points of the contenders' functions. A second stands for a step."""
        spans: list[Span] = []
        begun: dict[tuple[int, str], list[int]] = {}
        for at, step in enumerate(self.steps, start=1):
            name, actor = step.text.partition(" ")[2], contender_name(step.contender)
            if step.action == KILL:
                for (contender, open_name), starts in begun.items():
                    while contender == step.contender and starts:
                        spans.append(Span(actor, open_name, starts.pop(), at))
            elif step.action == GO and step.name == BEGIN:
                begun.setdefault((step.contender, name), []).append(at)
            elif step.action == GO and step.name == END and begun.get((step.contender, name)):
                spans.append(Span(actor, name, begun[step.contender, name].pop(), at))
            elif step.action == GO and step.name == POINT:
                spans.append(Span(actor, name, at, at))
        spans += [Span(contender_name(who), name, at, None) for (who, name), starts in begun.items() for at in starts]
        return Timeline(spans)

    def table(self, *, most: int = 120) -> str:
        """Return the steps as a table with a column for each contender.

        :param most: the largest number of steps that are shown; of more steps, the first and the last.
        """
        count = len(self.outcomes)
        cells = [(at, step.contender, step_text(step)) for at, step in enumerate(self.steps, start=1)]
        widths = [
            min(max([_NARROWEST, *(len(text) for _, who, text in cells if who == index)]), _WIDEST)
            for index in range(count)
        ]
        head = "step  " + "  ".join(f"{contender_name(i):<{width}}" for i, width in enumerate(widths))
        lines = [_row(at, who, text, widths) for at, who, text in cells]
        if len(lines) > most:
            lines[most // 2 : -most // 2] = [f"   …  {len(lines) - most} more steps"]
        return "\n".join([head.rstrip(), *lines])


def step_text(step: ExploredStep) -> str:
    """Return a step in words, with what came of it.

    :param step: the step.
    """
    text = f"{step.text}: {step.outcome}" if step.outcome else step.text
    text = _RANDOM_NAME.sub(r"\1…", text)
    return f"✗ {text}" if step.action == KILL else text


def _row(at: int, who: int, text: str, widths: Sequence[int]) -> str:
    shown = text if len(text) <= widths[who] else f"{text[: widths[who] - 1]}…"
    left = "  ".join(" " * width for width in widths[:who])
    return f"{at:4}  {left}{'  ' if who else ''}{shown}"
