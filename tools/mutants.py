"""The table of the faulty implementations: whether the suite catches each, by the right requirement.

    .venv/bin/python -m tools.mutants [OPTIONS OF PYTEST]

Prints the table; 1 where one was not caught, or something failed with it. MUTANTS=LocksNothing,Keeps* chooses some.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import ROOT
from pytest_cosmos_venv.throwaway import throwaway_folder

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
_ROOM = 4 << 30
VARIABLES = {
    # Where ``mutants.plugin`` and the suite are imported from.
    "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "conformance"), str(ROOT)]),
    # Empty counts as unset: without byte code, each of the thousands of fake dbts would be compiled at its start.
    "PYTHONDONTWRITEBYTECODE": "",
}
"""The environment variables of each run that judges mutants."""
TOLD = ("--cosmos-installer=uv", "-p", "mutants.plugin", "-n", "4")
"""The options of each such run. More processes than processors: many checks wait for seconds to pass."""


def roomy_folder() -> Path | None:
    """A file system in memory, for thousands of environments that live for a second; None where there is no fit one."""
    try:
        system = os.statvfs(_IN_MEMORY)
    except OSError:
        return None
    # In a container it is often small, and nothing in it can be run.
    will_do = system.f_bavail * system.f_frsize >= _ROOM and not system.f_flag & os.ST_NOEXEC
    return _IN_MEMORY if will_do and os.access(_IN_MEMORY, os.W_OK) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Judge all mutants; returns what pytest returns."""
    suite = [sys.executable, "-m", "pytest", "--cosmos-conformance", "--cosmos-implementation=cosmos_venv"]
    given = sys.argv[1:] if argv is None else argv
    with throwaway_folder("mutants-", within=roomy_folder()) as folder:
        variables = {**os.environ, **VARIABLES, "TMPDIR": str(folder)}
        return subprocess.call([*suite, *TOLD, "-q", "--tb=line", *given], cwd=folder, env=variables)


if __name__ == "__main__":
    sys.exit(main())
