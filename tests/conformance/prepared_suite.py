"""Runs of pytest, and of the suite's own pytest, that begin with what both import."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_cosmos_venv.suite import SuiteRun
from tests.prepared import PreparedPython

# pytest has rewritten no assertion of what is imported here, so that these runs judge nothing. Runs that do are
# started as users start them.
_PYTEST = PreparedPython(
    name="pytest",
    imports="""
import pytest, xdist.plugin
import pytest_cosmos_venv.plugin, pytest_cosmos_venv.fixtures.faults, pytest_cosmos_venv.fixtures.marked_races
import pytest_cosmos_venv.conformance.session
""",
    call="pytest.main()",
)


def run_pytest(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """pytest in a folder, to its end."""
    return _PYTEST.run([*options, "-p", "no:cacheprovider"], directory=folder)


def run_suite_itself(
    *options: str, folder: Path, implementation: str = "tiny.adapter:TinyAdapter"
) -> subprocess.CompletedProcess[str]:
    """The suite with these options in a folder, to its end, as the plugin starts it for ``--cosmos-conformance``."""
    with tempfile.TemporaryDirectory() as root:
        run = SuiteRun(options=options, implementation=implementation, set_aside=(), root=Path(root))
        (run.root / "tmp").mkdir()
        python, option, start, *words = run.command
        assert (python, option) == (sys.executable, "-c")
        assert "sys.path" in start, "the suite no longer leaves out the current directory: neither should this"
        return _PYTEST.run(words, environment=run.environment(os.environ), directory=folder, is_on_path=False)
