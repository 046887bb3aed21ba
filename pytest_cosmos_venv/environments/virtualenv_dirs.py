"""The directories in which environments may stand while a test installs fakes of dbt.

In any other directory a fake dbt would remain for the user's own DAG, or a real dbt there would run. An environment
variable names the directories, so that contenders check them like the test's own process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

PLACES_VARIABLE = "COSMOS_VIRTUALENV_PLACES"
"""Path prefixes, separated as in ``PATH``; unset while no test installs fakes."""
EVENT = "cosmos_venv.virtualenv_dir"
"""The audit event by which an implementation says where it is about to look for an environment: the directory, and the
parameter that names it."""
_PARAMETER = "virtualenv_dir"
_TEMPLATE = ("{{", "{%")


def refuse_foreign_directories(tasks: Iterable[Any], *, taken: str = "") -> None:
    """Check the attribute ``virtualenv_dir`` of each operator that has one.

    :param tasks: operators, mapped ones included.
    :param taken: a folder below which every directory is accepted; empty: none.
    :raises ToolkitMisuse: a directory is no folder of this test run; the text names the first such task.
    """
    for task in tasks:
        given = getattr(task, "partial_kwargs", {}).get(_PARAMETER) or getattr(task, _PARAMETER, None)
        if not isinstance(given, (str, os.PathLike)) or any(mark in os.fspath(given) for mark in _TEMPLATE):
            continue  # a template is judged when the task has rendered it and looks there
        if not _is_of_this_run(os.fspath(given)) and not (taken and Path(given).is_relative_to(taken)):
            raise ToolkitMisuse(f"Task {task.task_id!r}: {_refusal(_PARAMETER, os.fspath(given))}")


@contextmanager
def foreign_directories_refused() -> Iterator[None]:
    """Check every directory of environments during the block.

    Where an implementation raises the audit event, the check runs then, also while a DAG file is parsed. With every
    implementation it runs when an operator starts a process, to install or to run dbt.
    """
    # No audit hook: Python would keep it until the process ends. Both events come from Python code.
    audit = sys.audit

    def hear(event: str, *arguments: Any) -> None:
        _hear(event, arguments)
        audit(event, *arguments)

    sys.audit = hear
    try:
        yield
    finally:
        sys.audit = audit


def places_of(folders: Iterable[Path]) -> str:
    """Return the value of ``PLACES_VARIABLE``.

    :param folders: the folders in which environments may stand.
    """
    return os.pathsep.join(f"{os.path.realpath(folder)}{os.sep}" for folder in folders)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == EVENT and not _is_of_this_run(directory := arguments[0]):
        raise ToolkitMisuse(_refusal(arguments[1], directory))
    if event == "subprocess.Popen" and PLACES_VARIABLE in os.environ:
        # Cosmos puts the folder of a temporary environment into the attribute while it runs.
        refuse_foreign_directories(_operators_at_work(), taken=tempfile.gettempdir())


def _operators_at_work() -> Iterator[Any]:
    """Yield the operators whose methods are being called in this thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        # Operators are recognised by their attributes, since their classes belong to any implementation.
        owner = frame.f_locals.get("self")
        if hasattr(type(owner), "execute") and hasattr(owner, "task_id"):
            yield owner
        frame = frame.f_back


def _is_of_this_run(directory: str) -> bool:
    """Whether a directory is a folder of this test run; true too where the test installs no fakes."""
    places = os.environ.get(PLACES_VARIABLE)
    # With a separator behind it: /tmp/test-1 is not within /tmp/test.
    return places is None or f"{os.path.realpath(directory)}{os.sep}".startswith(tuple(places.split(os.pathsep)))


def _refusal(parameter: str, directory: str) -> str:
    found = (
        f"{parameter}={directory!r} is no folder of this test run, and the test installs fakes of dbt "
        "(cosmos_dbt). A fake would stay there for your own DAG, and a real dbt that stands there would "
        "be run. "
    )
    if parameter != _PARAMETER:
        return f"{found}Start the tests without it."
    return (
        f"{found}Load the DAG file with cosmos_airflow.load(file), which leads its environments to a folder of the "
        f"test, or give the task a folder below tmp_path: {_PARAMETER}=tmp_path / {Path(directory).name!r}."
    )
