"""Benchmark of the first use of the toolkit in a session, beside the plain work beneath. Prints a table and stores it.

    .venv/bin/python -m benchmarks.first_use

CPU seconds of pytest and of all that it starts, each figure and its floor turn by turn in one run; the least of the
rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.storing import MACHINE, store
from benchmarks.toolkit import Row, cpu_seconds, table
from pytest_cosmos_venv.environments.kept_dbt import kept_dbt
from pytest_cosmos_venv.shared_folders import SharedFolders
from pytest_cosmos_venv.throwaway import throwaway_folder

PROJECT = Path(__file__).parents[1] / "examples" / "dbt" / "harbor"
REQUIREMENTS = ("dbt-core~=1.11.0", "dbt-duckdb")
BUILD = """
def test_first(cosmos_duckdb):
    warehouse = cosmos_duckdb({project!r})
    warehouse.build()
    assert warehouse.rows("piers")
"""
AIRFLOW = """
def test_first(cosmos_airflow_home):
    assert cosmos_airflow_home.path.exists()
"""


def cpu_of(command: Sequence[str | Path], *, cwd: Path, **variables: str) -> float:
    """CPU seconds of a command and of what it starts."""
    before = cpu_seconds()
    subprocess.run(command, cwd=cwd, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, check=True)
    return cpu_seconds() - before


def pytest_of(folder: Path, test: str, kept: Path) -> float:
    """CPU seconds of one run of pytest with one test."""
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", f"--cosmos-cache-dir={kept}"]
    return cpu_of([sys.executable, "-m", "pytest", *options], cwd=folder)


def bare_build(dbt: Path, folder: Path) -> float:
    """CPU seconds of ``dbt build``, which finds what it has parsed in this folder before."""
    profile = {"type": "duckdb", "path": str(folder / "bare.duckdb")}
    document = {"harbor": {"target": "dev", "outputs": {"dev": profile}}}
    (folder / "profiles.yml").write_text(json.dumps(document), encoding="utf-8")
    places: list[str | Path] = ["--project-dir", PROJECT, "--profiles-dir", folder, "--target-path", folder / "target"]
    return cpu_of([dbt, "build", *places, "--log-path", folder / "logs"], cwd=PROJECT)


def building(rounds: int, root: Path) -> tuple[Row, Row]:
    """A build in the first test of a session: without anything parsed, and with what another session has parsed."""
    kept = root / "kept"
    dbt = kept_dbt(SharedFolders(root=kept), REQUIREMENTS).dbt
    cold: tuple[list[float], list[float]] = ([], [])
    warm: tuple[list[float], list[float]] = ([], [])
    test = BUILD.format(project=str(PROJECT))
    for number in range(rounds):
        folder = root / f"build-{number}"
        folder.mkdir()
        for place in kept.glob("duckdb-*"):
            shutil.rmtree(place, ignore_errors=True)
        for ours, floor in (cold, warm):
            ours.append(pytest_of(folder, test, kept))
            floor.append(bare_build(dbt, folder))
    return (
        Row(
            what="a session whose one test builds a project by cosmos_duckdb and reads a table",
            beneath="a bare dbt build, nothing parsed",
            ours=cold[0],
            floor=cold[1],
            bound=3.0,
            is_added=True,
        ),
        Row(
            what="the same once the project is parsed",
            beneath="a bare dbt build, the project parsed",
            ours=warm[0],
            floor=warm[1],
            bound=3.0,
            is_added=True,
        ),
    )


def later_builds(rounds: int, root: Path) -> Row:
    """A further test in a session: sessions of two tests beside sessions of one."""
    kept, one = root / "kept", BUILD.format(project=str(PROJECT))
    dbt = kept_dbt(SharedFolders(root=kept), REQUIREMENTS).dbt
    ours: list[float] = []
    floor: list[float] = []
    folder = root / "later"
    folder.mkdir()
    bare_build(dbt, folder)
    pytest_of(folder, one, kept)
    for _ in range(rounds):
        alone = pytest_of(folder, one, kept)
        ours.append(pytest_of(folder, one + one.replace("test_first", "test_second"), kept) - alone)
        floor.append(bare_build(dbt, folder))
    return Row(
        what="a later test of the session that does the same",
        beneath="a bare dbt build, the project parsed",
        ours=ours,
        floor=floor,
        bound=1.0,
        is_added=True,
    )


def airflow(rounds: int, root: Path) -> Row:
    """The first test of a session that needs Airflow, its database kept from another session."""
    kept = root / "kept-airflow"
    folder = root / "airflow"
    folder.mkdir()
    pytest_of(folder, AIRFLOW, kept)
    ours: list[float] = []
    floor: list[float] = []
    migrate = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    for number in range(rounds):
        ours.append(pytest_of(folder, AIRFLOW, kept))
        home = root / f"home-{number}"
        floor.append(cpu_of(migrate, cwd=folder, AIRFLOW_HOME=str(home), AIRFLOW__CORE__LOAD_EXAMPLES="False"))
    return Row(
        what="a session whose one test has an Airflow with a database, kept from another session",
        beneath="a bare airflow db migrate",
        ours=ours,
        floor=floor,
        bound=5.0,
    )


def main() -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of measurements of each line (default 5)")
    rounds: int = parser.parse_args().rounds
    with throwaway_folder("cosmos-benchmark-") as root:
        rows = [airflow(rounds, root), *building(rounds, root), later_builds(rounds, root)]
    head = (
        f"# The first use of the toolkit in a session\n\n{MACHINE}. CPU time, the least of {rounds} rounds, in turns."
    )
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    store("first-use", text, {"machine": MACHINE, "rows": [row.as_dict() for row in rows]})
    return 0 if all(row.is_kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
