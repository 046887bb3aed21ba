"""Adapters of the tiny command line that lie, each in its own way."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import psutil

from pytest_cosmos_venv.conformance.adapter import Outcome, Task
from pytest_cosmos_venv.conformance.requirements import CORE, read_specification

from ..tiny.adapter import TinyAdapter

NOTES = "RUDE_NOTES"
"""Variable with the folder in which they leave what the tests look at."""


def notes() -> Path:
    return Path(os.environ[NOTES])


class OfLeaving(TinyAdapter):
    """Judges a package whose import ends the process."""

    import_root = "tests.conformance.rude.leaving"


class HasNothing(TinyAdapter):
    """Opts into no profile and has no capability: all else of the profile core differs."""

    has: ClassVar[frozenset[str]] = frozenset()
    differs: ClassVar[dict[str, str]] = {
        name: "we like it so" for name, one in read_specification().items() if not one.needs and one.profile == CORE
    }


class Reader(TinyAdapter):
    """Writes down all that its process can read of what it is looked at for."""

    def perform(self, task: Task) -> Outcome:
        above = [each.cmdline() for each in psutil.Process().parents()]
        seen = {"variables": dict(os.environ), "words": sys.argv, "folder": os.getcwd(), "above": above}  # noqa: PTH109
        told = json.dumps({**seen, "task": str(task)})
        (notes() / f"{os.getpid()}.json").write_text(told, encoding="utf-8")
        return super().perform(task)


class RunsCode:
    """Makes a file where it is unpickled."""

    def __init__(self, name: str) -> None:
        self._file = notes() / name

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


class PicklesCode(TinyAdapter):
    """Answers with a pickle that runs code where it is read."""

    def perform(self, task: Task) -> Outcome:
        from pytest_cosmos_venv.races import contender

        contender._pickled = _pickle_code
        return super().perform(task)


def _pickle_code(value: Any) -> bytes:
    return _dumped("value")


def _dumped(name: str) -> bytes:
    import pickle

    return pickle.dumps(RunsCode(name))


class MountError(BaseException):
    """Has the name of the suite's own error of a machine on which nobody may mount."""


class BlamesTheMachine(TinyAdapter):
    """Says of each task that fails that it cannot be judged on this machine."""

    def perform(self, task: Task) -> Outcome:
        outcome = super().perform(task)
        if not outcome.succeeded:
            raise MountError("a directory that is read-only cannot be had here")
        return outcome
