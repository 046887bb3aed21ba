"""Tests of one run, and of runs beside each other, do not meet each other's servers and temporary folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.dbt.warm import servers

WRITES_ITS_FOLDER = "def test_folder(tmp_path):\n    open({told!r}, 'w').write(str(tmp_path))\n"


@pytest.mark.usefixtures("no_other_servers")
def test_a_test_that_is_to_have_no_other_servers_looks_for_them_nowhere_else() -> None:
    assert {folder.parent for folder in servers.folders()} == {Path(os.environ["XDG_RUNTIME_DIR"])}


def test_a_pytest_that_a_test_starts_does_not_clean_up_the_folders_of_other_runs(tmp_path: Path) -> None:
    told, inner = tmp_path / "told", tmp_path / "test_inner.py"
    inner.write_text(WRITES_ITS_FOLDER.format(told=str(told)))

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest", "-q", str(inner)],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    # <place for temporary files>/pytest-of-<user>/pytest-<number of the run>/<test>
    places = Path(told.read_text()).parents[1]
    assert places.is_relative_to(os.environ["AIRFLOW_HOME"])
