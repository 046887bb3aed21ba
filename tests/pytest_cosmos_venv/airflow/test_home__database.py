"""The database of Airflow's throw-away home is made once, and says what is wrong when it cannot be made."""

from __future__ import annotations

import fcntl
import sqlite3
import sys
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest

from pytest_cosmos_venv import AirflowHome, ToolkitMisuse
from pytest_cosmos_venv.airflow import home
from pytest_cosmos_venv.airflow.home import airflow_key
from pytest_cosmos_venv.shared_folders import SharedFolders
from tests.pytest_cosmos_venv.airflow.standin import USING

pytest_plugins = ["pytester"]


@pytest.mark.long
def test_it_is_made_once_for_all_workers_and_runs(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    project.makepyfile(test_using=USING, test_more=USING)

    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=4)
    monkeypatch.setenv("BROKEN", "1")
    project.runpytest_subprocess("-p", "no:xdist", "test_more.py").assert_outcomes(passed=2)

    (database,) = project.path.glob(".pytest_cache/d/cosmos-venv/airflow-home-*/airflow.db")
    assert database.parent.name.count("-py3.") == 1
    assert not list(tmp_path.glob("cosmos-airflow-*"))


def test_what_airflow_says_when_it_cannot_make_its_database_is_told(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_broken="def test_broken(cosmos_airflow_home): pass")
    monkeypatch.setenv("BROKEN", "1")

    result = project.runpytest_subprocess("-p", "no:xdist")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["Airflow could not make its database (airflow db migrate):", "the stand-in is broken"])


def test_a_migration_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "TIMEOUT", 0.1)
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    stuck.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stuck))

    with pytest.raises(ToolkitMisuse, match="airflow db migrate took more than 0 s"):
        home.migrate(tmp_path)


def test_without_airflow_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(distribution: str) -> str:
        raise metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(metadata, "version", version)

    with pytest.raises(
        ToolkitMisuse, match="This fixture runs Airflow, and there is none here: install apache-airflow"
    ):
        airflow_key()


def test_an_error_in_the_block_puts_the_database_back_too(cosmos_airflow_home: AirflowHome, tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table piers (id)")

    def fail_in_it() -> None:
        with home.restored(file), closing(sqlite3.connect(file)) as connection:
            connection.execute("drop table piers")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_it()

    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("piers",)]


def test_a_worker_waits_for_another_ones_migration_as_long_as_that_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "TIMEOUT", 0.05)
    monkeypatch.setattr(home, "_MARGIN", 0.02)

    with (tmp_path / "airflow-home-k1.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolkitMisuse, match=r"airflow-home-k1 is being made .* for more than 0\.07 s"):
            home.migrated_database(SharedFolders(root=tmp_path), "k1")
