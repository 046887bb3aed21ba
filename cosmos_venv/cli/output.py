"""Output of commands: the result goes to standard output, all else to standard error.

With ``--json`` a program reads the result: one JSON value, of the shape that docs/reference/cli.md shows for it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

OK, WRONG = 0, 1
INTERRUPTED = 130  # what a shell makes of SIGINT
NO_READER = 141  # likewise of SIGPIPE

_WIDE = 10_000  # columns in a pipe: no line of a table is cut there
_WORTH_A_BAR = 1.0  # seconds
_WIDTH_OF_A_BAR = 60  # columns, with numbers and time


def print_json(data: object) -> None:
    """Print the result for a program.

    :param data: as ``json.dumps`` takes it.
    """
    print(json.dumps(data, indent=2))


def print_lines(lines: Sequence[str]) -> None:
    """Print lines as they are.

    :param lines: without their ends.
    """
    # Not by rich, which ends the program by its own code when the reader has gone; likewise below.
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_marked(marked: Sequence[tuple[str, str, str]]) -> None:
    """Print lines that begin with a word in color.

    :param marked: (word, color, rest of the line) for each line.
    """
    show = Console(highlight=False, soft_wrap=True)
    with show.capture() as capture:
        for word, color, text in marked:
            show.print(f"{word:<8}", style=color, end="")
            show.print(text, markup=False)
    sys.stdout.write(capture.get())


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns under headings. In a pipe no text is wrapped or cut.

    :param headings: one for each column.
    :param rows: a text for each column.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    with console.capture() as capture:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def tell(text: str, style: str = "red") -> None:
    """Write to standard error what is wrong, or how it goes.

    :param text: one or more lines.
    :param style: a color of rich, such as ``red``.
    """
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style=style, markup=False)


@contextmanager
def only_the_result_on_stdout() -> Iterator[None]:
    """Within this block what is written to stdout goes to stderr: Airflow 3 logs there, and a DAG file may print."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


class Steps:
    """The steps of a command that takes its time, and how far they have come.

    :param bar: the bar that people see; it is disabled where nobody looks.
    :param what: a few words in front of the bar.
    :param count: number of steps; None: not known.
    """

    def __init__(self, bar: Progress, what: str, count: int | None) -> None:
        self._bar, self._task, self._what = bar, bar.add_task(what, total=count), what

    def expect(self, count: int) -> None:
        """Set the number of steps that are to be done from now on.

        :param count: of steps.
        """
        self._bar.update(self._task, total=count, completed=0)

    def begin(self, what: str) -> None:
        """Show what is done now.

        :param what: a few words.
        """
        self._what = what
        self._describe(what)

    def mention(self, line: str) -> None:
        """Show a line beside the bar; where there is no bar, nobody sees it.

        :param line: worth no more than a look.
        """
        self._describe(f"{self._what}: {line}")

    def end(self) -> None:
        """Count one more step as done."""
        self._bar.advance(self._task)

    def say(self, line: str) -> None:
        """Print a line of its own, above the bar where there is one.

        :param line: for standard error.
        """
        self._bar.console.print(line, style="dim", markup=False, soft_wrap=True)

    def _describe(self, text: str) -> None:
        from rich.markup import escape

        width = max(self._bar.console.width - _WIDTH_OF_A_BAR, _WIDTH_OF_A_BAR)
        self._bar.update(self._task, description=escape(text if len(text) < width else f"{text[: width - 1]}…"))


@contextmanager
def steps(what: str, count: int | None = None, *, as_json: bool) -> Iterator[Steps]:
    """Within this block people who wait longer than a second see a bar, which goes with it.

    None is drawn in a pipe, on a terminal that knows no cursor, or with ``--json``.

    :param what: a few words in front of the bar.
    :param count: number of steps; None: ``Steps.expect`` will give it, or it is not known.
    :param as_json: whether a program reads the result.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    is_seen = console.is_terminal and sys.stdout.isatty() and not console.is_dumb_terminal and not as_json
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    bar = Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not is_seen,
    )
    patience = threading.Timer(_WORTH_A_BAR, bar.start)
    patience.start()
    try:
        yield Steps(bar, what, count)
    finally:
        patience.cancel()
        patience.join()
        bar.stop()
