"""The database of Airflow's throw-away home is made once, and says what is wrong when it cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pytest_cosmos_venv.airflow.standin import USING

pytest_plugins = ["pytester"]


@pytest.mark.long
def test_it_is_made_once_for_all_workers_and_runs(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    project.makepyfile(test_using=USING, test_more=USING)

    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=2)
    monkeypatch.setenv("BROKEN", "1")
    project.runpytest_subprocess("-p", "no:xdist", "test_more.py").assert_outcomes(passed=1)

    (database,) = project.path.glob(".pytest_cache/d/cosmos-venv/airflow-home-*/airflow.db")
    assert database.parent.name.count("-py3.") == 1
    assert not list(tmp_path.glob("cosmos-airflow-*"))


def test_what_airflow_says_when_it_cannot_make_its_database_is_told(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_broken="def test_broken(cosmos_airflow): pass")
    monkeypatch.setenv("BROKEN", "1")

    result = project.runpytest_subprocess("-p", "no:xdist")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["Airflow could not make its database (airflow db migrate):", "the stand-in is broken"])
