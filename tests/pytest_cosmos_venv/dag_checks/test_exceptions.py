"""Exceptions of the ini file: each has a reason, and one that no longer applies is a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cosmos_venv.dag_checks.exceptions import BadException, read_exceptions
from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject

CHECKS = ("imports", "tests")


def test_an_exception_is_a_file_a_check_and_a_reason(tmp_path: Path) -> None:
    (tmp_path / "daily.py").touch()

    lines = ["", "daily.py::tests: sources: tested elsewhere", "daily.py::tests[dbt-2]: not before May"]

    found = read_exceptions(lines, root=tmp_path, checks=CHECKS)

    assert found == {
        (tmp_path / "daily.py", "tests"): "sources: tested elsewhere",
        (tmp_path / "daily.py", "tests[dbt-2]"): "not before May",
    }


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["daily.py"], "is no exception: write dags/daily.py::tests: the reason"),
        (["daily.py::tests"], "has no reason"),
        (["hourly.py::tests: why"], "there is no file hourly.py"),
        (["daily.py::tests: why", "daily.py::tests: too"], "stands there twice"),
    ],
)
def test_a_line_that_cannot_be_is_refused(lines: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "daily.py").touch()

    with pytest.raises(BadException) as raised:
        read_exceptions(lines, root=tmp_path, checks=CHECKS)

    assert words in str(raised.value)


@pytest.mark.long
def test_a_check_with_an_exception_may_fail_and_has_to(project: CheckedProject) -> None:
    project.ini(
        "cosmos_dags_exceptions =",
        "    dags/daily.py::no_side_effects: the quay moves to a template in May",
        "    dags/daily.py::nodes: nobody knows",
    )
    project.add(daily="from airflow.sdk import Variable\nVariable.get('quay', default=None)\ndag = make()")

    checked = project.run("-k", "no_side_effects or nodes")

    assert checked.verdicts("dags/daily.py") == {"no_side_effects": "exception", "nodes": "failed"}
    assert "Variable 'quay'" in checked.text("dags/daily.py", "no_side_effects")
    assert "1 failed, 7 deselected, 1 xfailed" in checked.output
    assert "XFAIL dags/daily.py::no_side_effects - the quay moves to a template in May" in checked.output
    assert "'dags/daily.py::nodes' (nobody knows) no longer applies: drop it from cosmos_dags_exceptions" in (
        checked.text("dags/daily.py", "nodes")
    )


def test_an_exception_that_cannot_be_ends_the_run(project: CheckedProject) -> None:
    project.ini("cosmos_dags_exceptions = dags/gone.py::tests: long ago")

    checked = project.run()

    assert checked.returncode == pytest.ExitCode.USAGE_ERROR
    assert "there is no file dags/gone.py: drop the line, or correct it." in checked.output
