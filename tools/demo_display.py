"""The display of the demo: progress while something runs, then tables of what happened."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

STATE_STYLES = {"success": "green", "failed": "bold red", "upstream_failed": "yellow", "skipped": "magenta"}
SVG_WIDTH = 100
FILE_WIDTH = 250  # nobody sees the edge of a file, and a path that is cut off is of no use


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """One task of the run.

    :param dbt: the requirement that brings its dbt.
    :param seconds: None when it never started.
    """

    task_id: str
    operator: str
    dbt: str
    state: str
    seconds: float | None


class Display:
    """The terminal. Everything else that this process and its children print goes to ``log_file``.

    :param log_file: is made anew; it gets the output of Airflow and dbt.
    :param record: keep what is shown, for :meth:`save_svg`.
    """

    def __init__(self, log_file: Path, *, record: bool = False) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        # The terminal is kept under a descriptor of its own: what Airflow, dbt and libraries write to 1 and 2 is a log.
        self._terminal = os.fdopen(os.dup(1), "w", encoding="utf-8")
        with log_file.open("w", encoding="utf-8") as log:
            sys.stdout.flush()
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        is_live = self._terminal.isatty() and not record  # a picture must not show each turn of the spinner
        self.console = Console(
            file=self._terminal,
            record=record,
            force_terminal=is_live,
            width=None if is_live else SVG_WIDTH if record else FILE_WIDTH,
            highlight=False,
        )
        self.seconds: dict[str, float] = {}
        self._status: Status | None = None

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Show ``text`` while the block runs; its seconds count under ``name``."""
        began = time.monotonic()
        with self.console.status(text) as status:
            self._status = status
            if not self.console.is_terminal and not self.console.record:
                self.console.print(f"… {text}")
            try:
                yield
            finally:
                self._status = None
                taken = time.monotonic() - began
                self.seconds[name] = self.seconds.get(name, 0.0) + taken
        self.console.print(Text.assemble(("✓ ", "green"), text, (f"  {taken:.1f} s", "dim")))

    def doing(self, text: str, *, is_step: bool = True) -> None:
        """Say what the current stage is at.

        :param is_step: whether a log gets the line too; on a terminal each line replaces the one before.
        """
        line = Text(text, overflow="ellipsis", no_wrap=True)
        if self.console.is_terminal and self._status is not None:
            self._status.update(line)
        elif is_step and not self.console.record:
            self.console.print(Text("  ").append_text(line), style="dim", overflow="ellipsis", no_wrap=True)

    def save_svg(self, file: Path, *, title: str) -> None:
        """Save what was shown so far as a picture that asks no host for a font."""
        code_format = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        self.console.save_svg(str(file), title=title, code_format=code_format)


def tasks_table(outcomes: Sequence[TaskOutcome], *, title: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("task")
    table.add_column("operator", style="dim")
    table.add_column("its dbt")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for outcome in outcomes:
        state = Text(outcome.state, style=STATE_STYLES.get(outcome.state, ""))
        table.add_row(outcome.task_id, outcome.operator, outcome.dbt, state, shown_seconds(outcome.seconds))
    return table


def rows_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        is_number = bool(rows) and isinstance(rows[0][index], (int, float))
        table.add_column(column, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    return table


def seconds_line(seconds: Mapping[str, float], *, total: float) -> Text:
    """The line that says where the time went; parts under 0.1 s are left out."""
    parts = [f"{name} {taken:.1f} s" for name, taken in seconds.items() if taken >= 0.1]
    return Text.assemble((f"{total:.1f} s in all: ", "bold"), " · ".join(parts))


def shown_seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}"
