"""The program ``dbt`` of the fake of dbt 2."""

from __future__ import annotations

import sys
from pathlib import Path

from ..main import answer, installed_versions
from .call import NativeCall
from .command_line import NativeInvocation


def cli() -> None:
    """Run the program ``dbt``."""
    site_packages = next(Path(sys.prefix).glob("lib/python*/site-packages"))
    # The path of the program, as for the real dbt 2, in place of a Python script.
    sys.argv[0] = str(Path(sys.prefix, "bin", "dbt"))
    answer(installed_versions(site_packages), NativeInvocation, NativeCall)
