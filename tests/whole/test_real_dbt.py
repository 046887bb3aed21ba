"""The whole slice with the real dbt: the example DAG end to end, and what dbt itself says when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.installed import ROOT, install_from_wheels, needs_dbt_wheels

DEADLINE = 280.0

pytestmark = needs_dbt_wheels


@pytest.fixture(scope="module", autouse=True)
def wheels_only() -> Iterator[None]:
    """Install from the wheels that `make test` has fetched, also when pytest was started by itself."""
    with pytest.MonkeyPatch.context() as patch:
        install_from_wheels(patch)
        yield


@pytest.mark.long
def test_the_example_runs_end_to_end_with_two_dbts_and_none_in_airflows_environment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tools.demo", "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    with duckdb.connect(str(tmp_path / "harbor.duckdb"), read_only=True) as database:
        sailed = database.execute("select sum(crossings) from route_days").fetchone()
        crossings = database.execute("select count(*) from fct_crossings").fetchone()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("│ success │") == 9
    assert "dbt-core~=1.10.0" in done.stdout
    assert sailed == crossings != (0,)
    assert subprocess.run([sys.executable, "-c", "import dbt.cli"], capture_output=True, check=False).returncode != 0
