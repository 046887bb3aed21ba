"""Tests of ``cosmos_seed_scenario`` in a user's run: passing, failing, misused, and leaving nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

pytest_plugins = ["pytester"]

STANDIN = "tests.pytest_cosmos_venv.seeds.standin"

TESTS = """
import os
import sqlite3
import subprocess
import pytest

@pytest.fixture(scope="module")
def before(_cosmos_airflow_home):
    return rows(_cosmos_airflow_home.database), dict(os.environ)

def rows(database):
    with sqlite3.connect(database) as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
        return {name: connection.execute(f"select count(*) from {name}").fetchone() for name, in tables.fetchall()}

def test_before(before):
    assert "DO_NOT_TRACK" not in os.environ

def test_passes(cosmos_seed_scenario):
    harbor = cosmos_seed_scenario(behavior="always", model=None)
    assert harbor.run().seed("piers").ran
    assert "DO_NOT_TRACK" in os.environ

def test_fails(cosmos_seed_scenario):
    harbor = cosmos_seed_scenario(behavior="always", model=None)
    harbor.edit("piers")
    harbor.run().must("skipped")

def test_misused(cosmos_seed_scenario):
    cosmos_seed_scenario(behavior="sometimes")

def test_leaves_a_dbt_running_and_another_scripted_in_vain(cosmos_seed_scenario):
    first, second = (cosmos_seed_scenario(behavior="always", model=None) for _ in range(2))
    first.dbt.script("seed", hold=True)
    subprocess.Popen([first.dbt_executable, "seed"], cwd=first.project.path, start_new_session=True)
    with open("pid", "w") as pid:
        print(first.dbt.wait_for_call("seed", held=True).pid, file=pid)
    second.dbt.script("seed", nodes={"nowhere": "error"})
    subprocess.run([second.dbt_executable, "seed"], cwd=second.project.path)

def test_nothing_is_left(before, _cosmos_airflow_home):
    now = {**before[1], "PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
    assert rows(_cosmos_airflow_home.database) == before[0]
    assert dict(os.environ) == now
"""


@pytest.mark.long
def test_a_run_of_a_user(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        monkeypatch.delenv(name)
    pytester.makepyfile(test_harbor=TESTS)

    options = [f"--cosmos-cache-dir={cache_dir}", f"--cosmos-implementation={STANDIN}"]
    result = pytester.runpytest_subprocess("-W", "ignore", "--show-capture=no", *options)

    result.assert_outcomes(passed=4, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "dbt was scripted what cannot be: nodes={'nowhere': *",
            '*harbor.run().must("skipped")',
            "E *standin * does not do what is required: piers skipped: its task succeeds, and dbt does not load it",
            "E *What was done and seen:",
            "E *  2. edit piers.csv",
            "E *  3. run of harbor: piers ran: piers_seed success, dbt seed *(exit code 0)* | no Variable set",
            "E *Seen:     piers ran: *",
            "behavior='sometimes': SeedRenderingBehavior of *standin has always, when_seed_changes, render_only, none.",
        ]
    )
    assert not psutil.pid_exists(int((pytester.path / "pid").read_text(encoding="utf-8")))
