"""Mutants whose fault lies in the process that ends dbt or an installer.

cosmos_venv starts it as a module of its own, in which the faults are put as text.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from .mutant import Mutant

_PROGRAM = """
import os, sys
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("processes.guard", {path!r})
guard = module_from_spec(spec)
spec.loader.exec_module(guard)
take, hear = guard.take_order, guard.hear

def take_order(control, worker):
    order = take(control, worker)
    if order is not None and (os.path.basename(order.command[0]) == b"dbt") is {is_of_dbt}:
        spoil()
    return order

guard.take_order = take_order

def spoil():
{fault}

os._exit(guard.main(sys.argv[2:]))
"""


class GuardsBadly(Mutant):
    """Ends the command of a task badly."""

    fault: ClassVar[str]
    """Lines of Python, in which ``guard`` is the sound module."""
    is_of_dbt: ClassVar[bool] = True
    """Whether it is dbt that is ended badly, or whatever else runs."""

    def spoil(self, operator: Any) -> None:
        take_over(type(self))
        operator.warm_dbt = "off"  # what is forked warm has no guard


def take_over(faulty: type[GuardsBadly]) -> None:
    """Let commands of this process be ended as a mutant does it."""
    from cosmos_venv.processes import guard, guarded_process

    lines = "\n".join(f"    {line}" for line in faulty.fault.strip().splitlines())
    folder = Path(tempfile.gettempdir(), faulty.__name__)
    folder.mkdir(exist_ok=True)
    (folder / "guard.py").write_text(_PROGRAM.format(path=guard.__file__, is_of_dbt=faulty.is_of_dbt, fault=lines))
    guarded_process.GUARD_FOLDER = str(folder)
