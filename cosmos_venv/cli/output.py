"""Output of commands: the result goes to standard output, all else to standard error.

With ``--json`` a program reads the result: one JSON value, of the shape that docs/reference/cli.md shows for it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

if TYPE_CHECKING:
    from rich.table import Table

OK, WRONG = 0, 1
INTERRUPTED = 130  # what a shell makes of SIGINT
NO_READER = 141  # what a shell makes of SIGPIPE

_WIDE = 10_000  # columns in a pipe: no line of a table is cut there


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a command.

    :param data: the value that ``--json`` prints, as ``json.dumps`` takes it.
    :param shown: lines, tables and trees for people.
    :param failures: sentences for standard error.
    :param is_wrong: whether the exit code is 1; with failures it is 1 in any case.
    """

    data: object
    shown: Sequence[RenderableType] = ()
    failures: Sequence[str] = ()
    is_wrong: bool = False

    def print(self, *, as_json: bool) -> int:
        """Print the result, and return the exit code.

        :param as_json: whether a program reads it.
        """
        for failure in self.failures:
            tell(failure)
        # Not by rich, which ends the program by its own code when the reader has gone.
        sys.stdout.write(json.dumps(self.data, indent=2) + "\n" if as_json else rendered(self.shown))
        return WRONG if self.is_wrong or self.failures else OK


def rendered(shown: Sequence[RenderableType], *, has_colors: bool = True) -> str:
    """Return the text of lines, tables and trees. In a pipe no text is wrapped or cut.

    :param shown: texts, which stay as they are, and objects of rich.
    :param has_colors: whether a terminal gets colors.
    """
    console = Console(highlight=False, color_system="auto" if has_colors else None)
    if not console.is_terminal:
        console.width = _WIDE
    return "".join(each + "\n" if isinstance(each, str) else _drawn(each, console) for each in shown)


def _drawn(renderable: RenderableType, console: Console) -> str:
    with console.capture() as capture:
        console.print(renderable, soft_wrap=isinstance(renderable, Text))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def table_of(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return columns under headings.

    :param headings: one for each column.
    :param rows: a text for each column.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def counted(number: int, name: str) -> str:
    """Return a number of things: ``1 DAG``, ``2 DAGs``.

    :param number: of the things.
    :param name: of one of them.
    """
    return f"{number} {name}{'s' * (number != 1)}"


def tell(text: str, style: str = "red") -> None:
    """Write a failure, or a report of progress, to standard error.

    :param text: one or more lines.
    :param style: a color of rich, such as ``red``.
    """
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style=style, markup=False)


@contextmanager
def only_the_result_on_stdout() -> Iterator[None]:
    """Send stdout to stderr within this block: Airflow 3 logs to stdout, and a DAG file may print."""
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
    """The steps of a command that takes its time, shown beside a spinner on standard error.

    A pipe, and a terminal without a cursor, get the lines of ``say`` alone.

    :param console: the console of standard error.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._spinner, self._step = console, Spinner("dots"), ""

    def begin(self, step: str) -> None:
        """Show the step that begins now.

        :param step: a few words.
        """
        self._step = step
        self._spinner.update(text=Text(step, no_wrap=True, overflow="ellipsis"))

    def mention(self, line: str) -> None:
        """Show a line beside the step; without a spinner nobody sees it.

        :param line: a line of little importance.
        """
        self._spinner.update(text=Text(f"{self._step}: {line}", no_wrap=True, overflow="ellipsis"))

    def say(self, line: str) -> None:
        """Print a line of its own, above the spinner.

        :param line: for standard error.
        """
        self._console.print(line, style="dim", markup=False, soft_wrap=True)

    def live(self) -> Live:
        """Return a context in which the spinner is shown; it goes with the context."""
        return Live(
            self._spinner,
            console=self._console,
            auto_refresh=self._console.is_terminal,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )


@contextmanager
def steps(step: str) -> Iterator[Steps]:
    """Within this block people see the present step.

    :param step: the first one, in a few words.
    """
    shown = Steps(Console(stderr=True, highlight=False))
    shown.begin(step)
    with shown.live():
        yield shown
