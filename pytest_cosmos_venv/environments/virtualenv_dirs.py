"""The directories in which environments may stand while a test installs look-alikes of dbt.

In any other one a look-alike would stay for the user's own DAG, or a real dbt that stands there would be run. An
environment variable names the directories, so that contenders and racers judge as the test's own process does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

PLACES_VARIABLE = "COSMOS_VIRTUALENV_PLACES"
"""Beginnings of paths, separated as ``PATH`` is; unset while no test installs look-alikes."""
EVENT = "cosmos_venv.virtualenv_dir"
"""The audit event by which an implementation says where it is about to look for an environment: the directory, and the
parameter that names it."""
_PARAMETER = "virtualenv_dir"
_TEMPLATE = ("{{", "{%")


def refuse_foreign_directories(tasks: Iterable[Any]) -> None:
    """Judge the attribute ``virtualenv_dir`` of each operator that has one, mapped ones included.

    :raises ToolkitMisuse: naming the first task whose directory is no folder of this test run.
    """
    for task in tasks:
        given = getattr(task, "partial_kwargs", {}).get(_PARAMETER) or getattr(task, _PARAMETER, None)
        if not isinstance(given, (str, os.PathLike)) or any(mark in os.fspath(given) for mark in _TEMPLATE):
            continue  # a template is judged when the task has rendered it and looks there
        if not _is_of_this_run(os.fspath(given)):
            raise ToolkitMisuse(f"Task {task.task_id!r}: {_refusal(_PARAMETER, os.fspath(given))}")


@cache
def refuse_where_environments_are_looked_for() -> None:
    """From here on until this process ends, for an implementation that tells by the audit event: also while a DAG file
    is parsed, and for an operator that is executed without Airflow. Python knows no way to take such a hook out."""
    sys.addaudithook(_hear)


def places_of(folders: Iterable[Path], *, prefixes: Iterable[str] = ()) -> str:
    """The value of the variable.

    :param folders: in which environments may stand.
    :param prefixes: beginnings of paths of such folders, which may not be there yet.
    """
    return os.pathsep.join([*(f"{os.path.realpath(folder)}{os.sep}" for folder in folders), *prefixes])


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for all that Python does: the way out comes first.
    if event == EVENT and not _is_of_this_run(directory := arguments[0]):
        raise ToolkitMisuse(_refusal(arguments[1], directory))


def _is_of_this_run(directory: str) -> bool:
    """True too where the test installs no look-alikes."""
    places = os.environ.get(PLACES_VARIABLE)
    return places is None or f"{os.path.realpath(directory)}{os.sep}".startswith(tuple(places.split(os.pathsep)))


def _refusal(parameter: str, directory: str) -> str:
    found = (
        f"{parameter}={directory!r} is no folder of this test run, and the test installs look-alikes of dbt "
        "(cosmos_wheelhouse). A look-alike would stay there for your own DAG, and a real dbt that stands there would "
        "be run. "
    )
    if parameter != _PARAMETER:
        return f"{found}Start the tests without it."
    return (
        f"{found}Read the directory from a variable in the DAG file, virtualenv_dir=os.environ.get('DBT_ENVIRONMENTS', "
        f"{directory!r}), and set it in the test before the file is imported: "
        f"monkeypatch.setenv('DBT_ENVIRONMENTS', str(tmp_path / {Path(directory).name!r}))."
    )
