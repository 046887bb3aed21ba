"""With what are environments installed in a run? With what was asked for, as Airflow's own setting tells it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import MutableMapping
from pathlib import Path

INSTALLERS = ("auto", "uv", "pip")
AUTO = INSTALLERS[0]
_SETTING = "AIRFLOW__STANDARD__VENV_INSTALL_METHOD"


class InstallerError(Exception):
    """The installer that was asked for is not there. The text is one sentence for whoever started the suite."""


def prepare(variables: MutableMapping[str, str], asked: str) -> None:
    """Let tasks that get these variables install with what was asked for.

    ``auto`` leaves the choice to the implementation. uv is put on PATH, where only uv is asked for and it lies beside
    this Python.

    :raises InstallerError: uv was asked for and is not there.
    """
    if asked == AUTO:
        return
    variables[_SETTING] = asked
    if asked == "uv":
        uv = _uv(variables)
        variables["PATH"] = os.pathsep.join([variables.get("PATH", ""), str(Path(uv).parent)])


def in_words(asked: str) -> str:
    """For the header and the report."""
    if asked != AUTO:
        return asked
    return "auto (uv on PATH)" if shutil.which("uv") else "auto (no uv on PATH)"


def command_of_uv(asked: str) -> str | None:
    """The uv with which the suite itself installs, where it may."""
    return None if asked == "pip" else shutil.which("uv")


def _uv(variables: MutableMapping[str, str]) -> str:
    beside_python = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=variables.get("PATH")) or shutil.which("uv", path=beside_python)
    if uv is None:
        raise InstallerError("--cosmos-installer=uv: uv is neither on PATH nor beside this Python; pip install uv.")
    return uv
