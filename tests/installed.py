"""The environments and wheels that ``make test`` fetches, and marks for tests that skip where these are missing.

In CI nothing may be missing: there such a test runs, and fails.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".cache" / "envs"
WHEELS = ROOT / ".cache" / "wheelhouse"
DBT = ENVIRONMENTS / "dbt111" / "bin" / "dbt"
AIRFLOW_2 = ENVIRONMENTS / "airflow2" / "bin" / "python"

IS_CI = os.environ.get("CI") == "true"

needs_airflow_2 = pytest.mark.skipif(
    sys.version_info >= (3, 13) or (not AIRFLOW_2.exists() and not IS_CI),
    reason="no Airflow 2.11 at .cache/envs/airflow2: make test makes it (Python 3.10 to 3.12)",
)
needs_dbt = pytest.mark.skipif(
    not DBT.exists() and not IS_CI, reason="no real dbt at .cache/envs/dbt111: make test makes it"
)
needs_dbt_wheels = pytest.mark.skipif(
    not list(WHEELS.glob("dbt_core-*")) and not IS_CI,
    reason="no real dbt in .cache/wheelhouse: make test fetches it",
)


def install_from_wheels(patch: pytest.MonkeyPatch) -> None:
    """Let both installers take the wheels that ``make test`` has fetched, and nothing else."""
    for tool in ("PIP", "UV"):
        patch.setenv(f"{tool}_FIND_LINKS", str(WHEELS))
        patch.setenv(f"{tool}_NO_INDEX", "1")
