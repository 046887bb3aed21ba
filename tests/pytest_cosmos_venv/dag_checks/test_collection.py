"""DAG files become items of their own, beside ordinary tests, and nothing is paid for where nobody asks."""

from __future__ import annotations

import pytest

from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject

NAMES = ["imports", "no_side_effects", "shape", "assets", "profile", "same_dag"]


def collected(output: str) -> list[str]:
    return [line for line in output.splitlines() if "::" in line]


def test_files_that_name_no_dbt_dag_and_ordinary_tests_are_left_to_others(project: CheckedProject) -> None:
    project.add(daily="raise RuntimeError('collecting imports nothing')")
    (project.folder / "dags" / "plain.py").write_text("raise RuntimeError\n", encoding="utf-8")
    (project.folder / "dags" / "test_daily.py").write_text("def test_of_DbtDag():\n    pass\n", encoding="utf-8")

    done = project.pytest("--cosmos-dags", "--collect-only", "-q", "dags")

    checks = [f"dags/daily.py::{name}" for name in NAMES]
    assert collected(done.stdout) == [*checks, "dags/test_daily.py::test_of_DbtDag"]


def test_a_file_or_a_check_can_be_named_and_is_not_imported_by_pytest(project: CheckedProject) -> None:
    project.add(daily="raise RuntimeError('collecting imports nothing')", hourly="")

    file = project.pytest("--cosmos-dags", "--collect-only", "-q", "dags/daily.py")
    check = project.pytest("--cosmos-dags", "--collect-only", "-q", "dags/daily.py::profile")

    assert file.returncode == check.returncode == 0, file.stdout
    assert len(collected(file.stdout)) == len(NAMES)
    assert collected(check.stdout) == ["dags/daily.py::profile"]


def test_without_the_option_nothing_is_collected_or_imported(project: CheckedProject) -> None:
    project.add(daily="dag = make()")
    (project.folder / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert not [m for m in sys.modules if 'dag_checks' in m]\n", "utf-8"
    )

    done = project.pytest("dags", "test_it.py")

    assert "1 passed" in done.stdout
    assert "dags/daily.py" not in done.stdout


@pytest.mark.long
def test_the_ini_file_switches_the_checks_on_and_the_run_ends_with_a_table(project: CheckedProject) -> None:
    project.ini("cosmos_dags = true")
    project.add(daily="dag = make()", hourly="from pathlib import Path\nDbtDag = Path", broken="1 / 0")
    before = {*(project.folder / "dags").rglob("*")}

    done = project.pytest("dags", "-n", "2", "--junitxml=told/junit.xml")

    table = done.stdout.partition("= DAG files =")[2].splitlines()
    assert table[1].split() == ["DAG", "file", "tasks", "import", "passed", "failed", "not", "checked"]
    assert table[2].startswith("dags/broken.py      0  ")
    assert table[3].startswith("dags/daily.py       5  ")
    assert table[3].endswith(" s       5  -        shape")
    assert table[4].endswith("shape, assets, profile, same_dag")
    assert table[2].endswith("no_side_effects, shape, assets, profile, same_dag")
    assert {*(project.folder / "dags").rglob("*")} == before
    junit = (project.folder / "told" / "junit.xml").read_text("utf-8")
    assert 'classname="dags.broken" name="imports"' in junit
    assert '<property name="cosmos_dags_tasks" value="5" />' in junit


@pytest.mark.long
def test_a_dag_file_may_import_modules_of_the_folder_that_is_named(project: CheckedProject) -> None:
    project.add(inner="from parts.names import NAME\ndag = make(NAME)")
    (project.folder / "dags" / "team").mkdir()
    (project.folder / "dags" / "inner.py").rename(project.folder / "dags" / "team" / "inner.py")
    (project.folder / "dags" / "parts").mkdir()
    (project.folder / "dags" / "parts" / "names.py").write_text("NAME = 'inner'\n", encoding="utf-8")
    (project.folder / "dags" / "dbt").symlink_to(project.folder / "dbt")

    checked = project.run("-k", "imports")

    assert checked.verdicts("dags/team/inner.py") == {"imports": "passed"}
    assert not [*(project.folder / "dags").rglob("__pycache__")]
