"""All fixtures and the mark work in one project, however its tests are handed out, and nothing is left of them."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.pytest_cosmos_venv.inner_run import InnerRun, public_fixtures

pytestmark = pytest.mark.long

PARTS = ("dbt_side", "racing", "airflow_side")


@pytest.mark.parametrize(
    ("options", "tests"),
    [
        # Airflow takes seconds to start: with its tests in one file, in one worker.
        pytest.param(["-n", "2", "--dist", "loadfile"], 21, id="n2"),
        # Without enough workers, the copies of a test are one test.
        pytest.param(["-p", "no:xdist"], 19, id="no-xdist"),
    ],
)
def test_all_fixtures_in_one_project(options: list[str], tests: int, tmp_path: Path, cache_dir: Path) -> None:
    run = InnerRun("cosmos", tmp_path, cache_dir)
    run.add_everything(*PARTS)

    done = run.run("-W", "error::pytest.PytestUnraisableExceptionWarning", *options)

    print(done.output)
    assert done.returncode == 0
    assert done.outcomes == {"passed": tests}
    assert done.processes == []
    assert done.files == []
    assert [report["variables"] for report in run.reports] == [{}] * len(run.reports)
    used = {name for report in run.reports for name in report["fixtures"]}
    assert public_fixtures() - used == set()
    counted = [report["rows"] for report in run.reports if report["rows"]]
    # Other tests keep databases of other Airflows in the same folder.
    (pristine,) = cache_dir.glob(f"airflow-home-{airflow_release(run)}-*/airflow.db")
    assert counted
    assert counted == [row_counts(pristine)] * len(counted)


def airflow_release(run: InnerRun) -> str:
    ask = "from importlib.metadata import version; print(version('apache-airflow'))"
    return subprocess.run([run.python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()


def row_counts(database: Path) -> dict[str, int]:
    with closing(sqlite3.connect(database)) as connection:
        # Not SQLite's own, which counts what was ever there.
        names = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
        tables = [name for (name,) in connection.execute(names)]
        count = "select count(*) from {}".format
        return {table: connection.execute(count(table)).fetchone()[0] for table in tables}
