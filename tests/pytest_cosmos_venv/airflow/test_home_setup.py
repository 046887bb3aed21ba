"""The throw-away home of a run is removed whatever was made in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOMEBODY = 51_234

# Root may delete everywhere, so it becomes somebody else first. That user may be unable to read this checkout, so all
# that is needed is imported before.
CLOSED_HOME = f"""
import os
import pytest_cosmos_venv.throwaway
from pytest_cosmos_venv.airflow.home_setup import AirflowHomeSetup
if os.getuid() == 0:
    os.setgid({SOMEBODY})
    os.setuid({SOMEBODY})
setup = AirflowHomeSetup()
home = setup.point()
packages = home / "environments" / "site-packages"
packages.mkdir(parents=True)
(packages / "dbt.py").touch()
for each in (packages, packages.parent):
    each.chmod(0o555)
setup.close()
print(home.exists())
"""


def test_a_home_with_folders_that_nobody_may_write_to_is_removed(everybodys_directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_HOME],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(everybodys_directory)},
    )

    assert done.stdout.strip() == "False", done.stderr
