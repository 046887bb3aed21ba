"""The code of contenders and child interpreters is measured, as the page about continuous integration says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.pytest_cosmos_venv.inner_run import ROOT, InnerRun

PAGE = ROOT / "docs" / "how-to" / "testing" / "continuous-integration.md"

HARBOR = """\
def in_the_test():
    return 1

def in_a_copy():
    return 2

def in_a_contender():
    return 3

def in_a_child():
    return 5

def in_who_is_killed():
    return 6

def nowhere():
    return 7
"""

# Of who is killed by SIGKILL, and of what nobody runs.
NOT_MEASURED = "14, 17"

TESTS = """
import subprocess
import sys

import pytest

import harbor


def test_itself():
    assert harbor.in_the_test()


@pytest.mark.cosmos_race(contenders=2)
def test_copies(cosmos_race):
    assert harbor.in_a_copy()


def work(contender):
    return harbor.in_a_contender()


def die(contender):
    harbor.in_who_is_killed()
    contender.point("done")


def test_contenders(cosmos_race):
    assert cosmos_race(work, contenders=2).values == (3, 3)
    cosmos_race(die, contenders=1, kill_at="done")


def test_a_child():
    subprocess.run([sys.executable, "-c", "import harbor; harbor.in_a_child()"], check=True)
"""


def recipe() -> str:
    """The configuration that the page shows."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.fixture
def run(tmp_path: Path) -> InnerRun:
    run = InnerRun("crowd", tmp_path, tmp_path / "cache")
    run.variables["PYTHONPATH"] = str(run.project)
    run.add(harbor=HARBOR, test_harbor=TESTS)
    (run.project / "pyproject.toml").write_text(recipe(), encoding="utf-8")
    return run


PLUGINS = ("-p", "no:pytest_airflow_in_a_box", "-p", "no:randomly")


@pytest.mark.long
def test_pytest_cov_measures_child_processes(run: InnerRun) -> None:
    done = run.run(*PLUGINS, "-n", "2", "--cov=harbor", "--cov-report=term-missing")

    print(done.output)
    assert done.outcomes == {"passed": 5}
    assert missing_lines(done.output) == NOT_MEASURED
    assert data_files(run) == [".coverage"]


@pytest.mark.long
def test_coverage_alone_measures_child_processes(run: InnerRun) -> None:
    run.interpreter += ["-m", "coverage", "run", "--include=harbor.py"]

    done = run.run(*PLUGINS, "-p", "no:xdist", "-p", "no:pytest_cov")
    coverage(run, "combine", "-q")
    shown = coverage(run, "report", "-m")

    assert done.outcomes == {"passed": 4}, done.output
    assert missing_lines(shown) == NOT_MEASURED
    assert data_files(run) == [".coverage"]


def coverage(run: InnerRun, *command: str) -> str:
    called = [str(run.python), "-m", "coverage", *command]
    return subprocess.run(called, cwd=run.project, capture_output=True, text=True, check=True).stdout


def missing_lines(report: str) -> str:
    (lines,) = re.findall(r"^harbor\.py .*%\s+(.*)$", report, re.MULTILINE)
    return str(lines)


def data_files(run: InnerRun) -> list[str]:
    return sorted(file.name for file in run.project.glob(".coverage*"))
