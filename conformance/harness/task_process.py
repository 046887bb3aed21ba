"""The process of one task: the operator is made and run there, and told to end as Airflow does it."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_cosmos_venv import Contender

from ..adapter import Adapter
from ..cosmos_layout import in_words, open_adapter
from ..tasks import AdapterError, Outcome, Task, plain
from .mounts import make_places

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

OVERWRITTEN, OVERWRITING = "COSMOS_SUITE_OVERWRITTEN", "COSMOS_SUITE_OVERWRITING"
"""Variables of a task: the file that another process overwrites before the task changes it, and the text for it."""


def work(
    contender: Contender, adapter: str, tasks: Sequence[Task], variables: Mapping[str, str], seconds: float
) -> dict[str, Any]:
    """Run a contender's own tasks to their ends.

    :param contender: the contender of the race.
    :param adapter: the name of the adapter, as ``open_adapter`` takes it.
    :param tasks: one for each contender. If there are more, a contender runs several of them, one after the other.
    :param variables: variables of the environment, for all of them.
    :param seconds: that a task may take.
    :returns: the first outcome that is no success, or the last, as plain data.
    """
    take_variables(variables)
    if OVERWRITTEN in variables:
        _write_over(Path(variables[OVERWRITTEN]), variables[OVERWRITING])
    mine = list(itertools.islice(tasks, contender.index, None, contender.count))
    opened = open_adapter(adapter)
    opened.seconds = seconds
    opened.begin()
    outcomes = [performed(opened, task) for task in mine]
    told: dict[str, Any] = plain(next((outcome for outcome in outcomes if not outcome.succeeded), outcomes[-1]))
    return told


def _write_over(file: Path, text: str) -> None:
    """Write a text over a file just before this process removes, moves or truncates the file for the first time.

    :param file: the file.
    :param text: the new content of the file.
    """
    left = [text]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        truncates = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_TRUNC
        if left and (truncates or event in {"os.remove", "os.rename"}) and str(file) in map(str, arguments[:2]):
            file.write_text(left.pop(), encoding="ascii")

    sys.addaudithook(hook)


def take_variables(variables: Mapping[str, str]) -> None:
    """Set environment variables as if this process had started with them.

    :param variables: name -> value.
    """
    os.environ.update(variables)
    tempfile.tempdir = None  # forget the temporary directory: tempfile looks for it again, as in a new process


def performed(adapter: Adapter, task: Task) -> Outcome:
    """The outcome of a task, also under an adapter that performs tasks its own way.

    :param adapter: runs the task.
    :param task: what to run; its mounts and its standard input are prepared first.
    :raises AdapterError: ``perform`` raised, or returned no outcome.
    """
    if task.standard_input is not None:
        _offer(task.standard_input)
    hook = f"{type(adapter).__name__}.perform"
    make_places(task.place)
    try:
        outcome: object = adapter.perform(task)
    except Exception as error:
        raise AdapterError(
            f"{hook} raised {in_words(error)}. A task that fails is told by what it returns: "
            'Outcome(state="failed", exception="ValueError: what was wrong").'
        ) from error
    if not isinstance(outcome, Outcome):
        raise AdapterError(f"{hook} must return an Outcome, not {type(outcome).__name__}.")
    return outcome


def _offer(text: str) -> None:
    """Put a text on standard input, which does not end, like the channel to Airflow 3's supervisor."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.dup2(reading, 0)
