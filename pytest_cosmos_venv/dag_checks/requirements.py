"""The resolution of requirements by the installer: whether there is a set of releases that fits, and can be had."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence

from pytest_cosmos_venv.dag_checks.record import Installation
from pytest_cosmos_venv.throwaway import throwaway_folder

TIMEOUT = 300.0
"""Seconds that resolving one set may take."""
_LAST_LINES = 15


def resolution_error(installation: Installation) -> str | None:
    """Return why requirements cannot be resolved; None where they can. Nothing is installed.

    :param installation: the requirements, with the options of the installer.
    """
    with throwaway_folder("cosmos-resolve-") as folder:
        target = ["--target", str(folder), *installation.options, *installation.requirements]
        try:
            done = subprocess.run(
                [*_installer(installation.python), *target],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return f"{_words(installation)}: no answer within {TIMEOUT:.0f} s"
    if done.returncode == 0:
        return None
    said = "\n    ".join(done.stdout.splitlines()[-_LAST_LINES:])
    return f"{_words(installation)} (task {installation.task}):\n    {said}"


def _installer(python: str | None) -> Sequence[str]:
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--dry-run", "--python", python or sys.executable]
    version = ["--python-version", python, "--only-binary", ":all:"] if python and python[0].isdigit() else []
    return [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", *version]


def _words(installation: Installation) -> str:
    return " ".join(installation.requirements)
