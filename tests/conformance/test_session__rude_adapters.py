"""Nobody comes through the suite unjudged: adapters that end the process, forge, read, or declare everything away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from conformance.reporting.report import read_report
from conformance.requirements import CORE, Level, read_specification
from pytest_cosmos_venv.suite import REPORT_FILES

HERE = Path(__file__).parent
IN_WORKERS = ["-n", "2", "--cosmos-report=out"]


class Rude:
    """Runs of the suite in an empty folder.

    :param folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir()

    def judge(self, named: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(HERE), os.environ["PYTHONPATH"]])
        return subprocess.run(
            [sys.executable, "-m", "pytest", "--cosmos-conformance", f"--cosmos-implementation={named}", *options],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, "RUDE_NOTES": str(self.notes), **variables},
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )

    @property
    def reports(self) -> list[str]:
        return [name for name in REPORT_FILES if (self.folder / "out" / name).exists()]

    def found(self, requirement: str) -> dict[str, Any]:
        report = read_report(self.folder / "out")
        return next(each for each in report["requirements"] if each["id"] == requirement)


@pytest.fixture
def rude(tmp_path: Path) -> Rude:
    return Rude(tmp_path)


@pytest.mark.parametrize(
    ("named", "code"),
    [
        pytest.param("tests.conformance.rude.leaving_adapter:Mine", 4, id="adapter-leaves"),
        pytest.param("tests.conformance.rude.adapters:OfLeaving", 10, id="its-package-leaves", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("options", [[], IN_WORKERS], ids=["one-process", "workers"])
def test_an_end_of_the_process_at_the_import_is_told(rude: Rude, named: str, code: int, options: list[str]) -> None:
    (rude.folder / "out").mkdir()
    (rude.folder / "out" / "report.json").write_text("of an earlier run", encoding="utf-8")

    done = rude.judge(named, *options)

    assert done.returncode == code, done.stdout + done.stderr
    assert "the process that imports it ended by itself with 0 before it answered" in done.stdout + done.stderr or (
        code == 10 and "the process ended by itself with 0 before it answered" in done.stdout
    )
    if options and code == 4:
        assert rude.reports == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        pytest.param("LeavesAtTheEnd", "its process ended with exit code 0 before the suite had closed", id="leaves"),
        pytest.param("ChangesTheExitCode", "its process ended with exit code", id="another-code"),
        pytest.param("WritesAReport", "is not the report that the suite has written", id="another-report"),
    ],
)
def test_a_run_without_its_closing_record_gives_no_verdict(rude: Rude, plugin: str, words: str) -> None:
    options = ["--collect-only", "-q", "-p", "tests.conformance.rude.judge_plugins", "--cosmos-report=out"]

    done = rude.judge("tiny.adapter:TinyAdapter", *options, RUDE_PLUGIN=plugin)

    assert done.returncode == 11
    assert words in done.stderr
    assert "no verdict (exit code 11)" in done.stderr
    assert rude.reports == []


def test_a_run_with_its_closing_record_keeps_its_report(rude: Rude) -> None:
    done = rude.judge("tiny.adapter:TinyAdapter", "--collect-only", "-q", "--cosmos-report=out")

    assert (done.returncode, done.stderr) == (0, "")
    assert rude.reports == list(REPORT_FILES)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "workers",
    [pytest.param([], id="one-process"), pytest.param(["-n", "1"], id="workers")],
)
def test_nothing_around_a_task_says_what_it_is_looked_at_for(rude: Rude, workers: list[str]) -> None:
    rude.judge("tests.conformance.rude.adapters:Reader", "--cosmos-requirement=ENV-002", *workers)

    read = [file.read_text(encoding="utf-8") for file in rude.notes.iterdir()]
    assert len(read) == 3  # two cases, and the smoke check
    for text in read:
        seen = json.loads(text)
        assert [name for name in seen["variables"] if name.startswith("PYTEST_")] == []
        # What the user has typed stands in the command lines above, as in each run.
        own = json.dumps({name: each for name, each in seen.items() if name != "above"})
        assert [word for word in ("ENV-002", "temporary_environment", "gone_after", "::") if word in own] == []
        # The title of a worker that runs these very tests has one.
        of_the_suite = list(takewhile(lambda words: "--cosmos-conformance" not in words, seen["above"]))
        assert 0 < len(of_the_suite) < len(seen["above"])
        assert "::" not in json.dumps(of_the_suite)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_who_declares_everything_away_is_not_passed(rude: Rude) -> None:
    musts = [
        name
        for name, one in read_specification().items()
        if one.level is Level.MUST and not one.needs and one.profile == CORE
    ]
    lines = "".join(f"{name} | we like it so\n" for name in musts)
    (rude.folder / "known.txt").write_text(lines, encoding="utf-8")

    counted = rude.judge("tests.conformance.rude.adapters:HasNothing")
    owned = rude.judge("tests.conformance.rude.adapters:HasNothing", "--cosmos-known-failures=known.txt")

    assert counted.returncode == 1
    assert "a MUST that differs on purpose counts as failed unless" in counted.stdout
    assert owned.returncode == 11
    assert "No requirement of the level MUST was judged" in owned.stdout


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_a_task_sends_runs_no_code_in_the_judge(rude: Rude) -> None:
    done = rude.judge("tests.conformance.rude.adapters:PicklesCode", "--cosmos-requirement=CMD-001")

    assert list(rude.notes.iterdir()) == []
    assert done.returncode in (10, 11), done.stdout


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_task_that_fails_cannot_blame_the_machine(rude: Rude) -> None:
    options = ["--cosmos-requirement=CMD-014,ENV-016", "--cosmos-report=out"]

    done = rude.judge("tests.conformance.rude.adapters:BlamesTheMachine", *options)

    assert done.returncode == 11, done.stdout
    assert [rude.found(each)["verdict"] for each in ("CMD-014", "ENV-016")] == ["harness error"] * 2


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "workers",
    [pytest.param([], id="one-process"), pytest.param(["-n", "1"], id="workers")],
)
def test_a_python_that_passes_over_assertions_passes_over_none(rude: Rude, workers: list[str]) -> None:
    options = ["--cosmos-requirement=CMD-015", "--cosmos-level=should", "--cosmos-report=out"]

    done = rude.judge("tiny.adapter:TinyAdapter", *options, *workers, PYTHONOPTIMIZE="1")

    assert done.returncode == 1, done.stdout
    assert rude.found("CMD-015")["verdict"] == "failed"
