"""The errors that users meet by name, and warnings at the line of the user's code.

This module does not import Airflow. Errors that are an ``AirflowException`` are in ``cosmos_venv.operators``.
"""

from __future__ import annotations

import sys
import warnings


class CosmosValueError(ValueError):
    """A parameter, or a combination of two, has a wrong value. The text names parameter, value and way out."""


class CosmosConfigException(Exception):
    """The machine lacks what the configuration asks for, such as a dbt executable."""


class CosmosLoadDbtException(Exception):
    """The dbt project cannot be loaded now."""


class CosmosDbtRunError(Exception):
    """A dbt in the worker's own process failed. The text names the nodes."""


class AirflowCompatibilityError(Exception):
    """This version of Airflow lacks what was asked for."""


class CommandKilled(Exception):
    """The task was told to end while it waited or while a command of its ran."""


class NotWarm(Exception):
    """A command cannot be forked from a process that has imported its program. No part of the command has run.

    :ivar reason: one word, for metrics.

    :param reason: one word, for metrics.
    :param text: the sentence that a user reads.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class VirtualenvError(Exception):
    """A managed environment cannot be had. The text says which, why, and what to do."""


class VirtualenvBuildError(VirtualenvError):
    """An installer failed, or what it installed does not work. The text holds the tool's own last lines."""


class VirtualenvLockTimeout(VirtualenvError):
    """Another process held the directory's lock for longer than this task may wait."""


class VirtualenvBeingBuilt(VirtualenvError):
    """A detached builder is at work, or failed a moment ago; the caller may not wait for it."""


def warn(text: str, category: type[Warning] = DeprecationWarning) -> None:
    """Warn at the line of the user's code: the innermost one that belongs neither to cosmos_venv nor to Airflow.

    :param text: the warning.
    :param category: its class.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in {"airflow", "cosmos_venv"}:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def deprecated(old: str, new: str) -> None:
    """Warn of a parameter that is deprecated.

    :param old: its name, with the class.
    :param new: the parameter that takes its place.
    """
    warn(f"{old} is deprecated; use {new}.")
