"""Reports that are kept are valid, and what is wrong with one that is handed in is told in a sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance import SPECIFICATION_VERSION, SUITE_VERSION
from conformance.command import main
from conformance.reporting.kept_reports import (
    KNOWN_FAILURES,
    README,
    REPORT,
    SERVERS_REPORT,
    faults,
    kept_folders,
    versions,
)
from conformance.requirements import Requirement, read_specification
from tools.judge import KEPT

Change = Callable[[dict[str, Any]], object]

ORIGINAL = next(version / "cosmos-venv" for version in versions(KEPT) if (version / "cosmos-venv").exists())
JUDGED: str = json.loads((ORIGINAL / REPORT).read_text(encoding="utf-8"))["implementation"]["version"]
"""The release of cosmos-venv that the newest report is about."""


@pytest.fixture
def handed_in(tmp_path: Path) -> Path:
    """A copy of the newest valid folder of cosmos-venv, in a folder of its version."""
    return Path(shutil.copytree(ORIGINAL, tmp_path / ORIGINAL.parent.name / ORIGINAL.name))


def changed(folder: Path, change: Change, name: str = REPORT) -> list[str]:
    """The faults once a report of the folder was changed."""
    report = json.loads((folder / name).read_text(encoding="utf-8"))
    change(report)
    (folder / name).write_text(json.dumps(report), encoding="utf-8")
    return faults(folder)


@pytest.mark.parametrize("folder", kept_folders(KEPT), ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_what_is_kept_is_valid(folder: Path) -> None:
    assert faults(folder) == []


def break_first_must(report: dict[str, Any]) -> None:
    first = next(each for each in report["requirements"] if each["level"] == "MUST" and each["verdict"] == "passed")
    first["verdict"] = "failed"
    counts = report["closing"]["counts"]["MUST"]
    counts["passed"], counts["failed"] = counts["passed"] - 1, 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda report: report.pop("closing"), "is no report of this suite", id="no-closing"),
        pytest.param(lambda report: report.update(specification="77.0"), "which this suite does not know", id="future"),
        pytest.param(
            lambda report: report["implementation"].update(version="unknown"), "names no version", id="version"
        ),
        pytest.param(lambda report: report["environment"].update(airflow=""), "environment/airflow", id="no-airflow"),
        pytest.param(lambda report: report["requirements"].pop(0), "hand in a whole run", id="left-out"),
        pytest.param(
            lambda report: report["requirements"][0].update(id="API-999"),
            "the specification does not have",
            id="strange",
        ),
        pytest.param(lambda report: report["closing"].update(is_complete=False), "that is not complete", id="cut-off"),
        pytest.param(lambda report: report["closing"].update(exit_code=11), "which has no verdict", id="no-verdict"),
        pytest.param(
            lambda report: report["closing"]["counts"]["MUST"].update(passed=1), "counts other verdicts", id="counts"
        ),
        pytest.param(break_first_must, "ends with 0 although", id="failed-with-0"),
        pytest.param(lambda report: report.update(started="2222-01-01T00:00:00+00:00"), "times in order", id="times"),
        pytest.param(
            lambda report: report["options"].update(known_failures="/home/kim/list.txt"), "a home directory (/home/kim)"
        ),
        pytest.param(
            lambda report: report["requirements"][0].update(evidence=["from https://kim:pass@example.org/simple"]),
            "what looks like a credential",
            id="credential",
        ),
    ],
)
def test_a_fault_of_a_report_is_one_sentence_that_names_the_file(handed_in: Path, change: Change, words: str) -> None:
    found = changed(handed_in, change)

    assert any(words in fault and str(handed_in / REPORT) in fault for fault in found), found
    assert all("\n" not in fault for fault in found)


def of_today(handed_in: Path) -> Path:
    """The same folder, as a run of this suite would have left it."""
    specification = read_specification()
    for name in (REPORT, SERVERS_REPORT):
        report = json.loads((handed_in / name).read_text(encoding="utf-8"))
        judged = [one for one in specification.values() if one.has_servers is (name == SERVERS_REPORT) and one.level]
        report.update(specification=SPECIFICATION_VERSION, suite=SUITE_VERSION)
        report["requirements"] = [as_passed(one, report["requirements"][0]["again"]) for one in judged]
        groups = Counter(one.counted_as for one in judged)
        report["closing"]["counts"] = {group: {"passed": number} for group, number in groups.items()}
        (handed_in / name).write_text(json.dumps(report), encoding="utf-8")
    folder = handed_in.parent.parent / SPECIFICATION_VERSION / handed_in.name
    folder.parent.mkdir(exist_ok=True)
    return handed_in.rename(folder)


def as_passed(one: Requirement, again: str) -> dict[str, Any]:
    assert one.level is not None
    told: dict[str, Any] = {
        "id": one.id,
        "level": one.level.value,
        "since": one.since,
        "sentence": one.sentence,
        "again": again,
    }
    lists = {"sources": one.sources, "depends_on": one.depends_on, "needs": one.needs, "evidence": (), "pictures": ()}
    tests = [{"name": "test_x.py::test_it", "verdict": "passed", "seconds": 1.0}]
    told |= {name: list(each) for name, each in lists.items()}
    return {**told, "verdict": "passed", "root": None, "tests": tests}


def first_must(report: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in report["requirements"] if each["level"] == "MUST")


def judge_otherwise(verdict: str) -> Change:
    """The first MUST came to this."""

    def change(report: dict[str, Any]) -> None:
        one = first_must(report)
        one["verdict"] = one["tests"][0]["verdict"] = verdict
        counts = report["closing"]["counts"]["MUST"]
        counts.update({"passed": counts["passed"] - 1, verdict: 1})

    return change


def test_a_report_of_this_suite_is_valid(handed_in: Path) -> None:
    assert faults(of_today(handed_in)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda report: first_must(report).update(evidence=["in /app/x/y.py"]), "/app/x/y.py", id="app"),
        pytest.param(lambda report: first_must(report).update(evidence=["PATH=/bin:/tmp/x"]), "(/tmp/x)", id="tmp"),
        pytest.param(lambda report: first_must(report).update(evidence=["file:///mnt/x/"]), "(/mnt/x/)", id="url"),
        pytest.param(
            lambda report: first_must(report).update(pictures=["<svg>/srv/x</svg>"]), "(/srv/x)", id="picture"
        ),
        pytest.param(lambda report: report["options"].update(known_failures="/data/x"), "(/data/x)", id="option"),
        pytest.param(lambda report: first_must(report).update(level="BEYOND"), "has another level", id="level"),
        pytest.param(
            lambda report: first_must(report).update(sentence="It is."), "has another sentence", id="sentence"
        ),
        pytest.param(lambda report: first_must(report).update(needs=["watcher"]), "has another needs", id="needs"),
        pytest.param(
            lambda report: first_must(report)["tests"][0].update(verdict="failed"),
            "its tests came to failed",
            id="tests",
        ),
        pytest.param(lambda report: first_must(report).update(tests=[]), "its tests came to not run", id="no-tests"),
        pytest.param(judge_otherwise("differs on purpose"), "ends with 0 although", id="differs"),
        pytest.param(judge_otherwise("known failure"), "hand in the list too, as known-failures.txt", id="known"),
    ],
)
def test_a_report_that_this_suite_would_not_leave_so_is_refused(handed_in: Path, change: Change, words: str) -> None:
    folder = of_today(handed_in)

    found = changed(folder, change)

    assert any(words in fault and str(folder / REPORT) in fault for fault in found), found


def test_a_list_of_known_failures_has_what_the_report_takes_from_it(handed_in: Path) -> None:
    folder = of_today(handed_in)
    (folder / KNOWN_FAILURES).write_text("API-001 | we know\n", encoding="utf-8")

    assert changed(folder, judge_otherwise("known failure")) == []

    (folder / KNOWN_FAILURES).write_text("API-001 | we know\n", encoding="utf-8-sig")

    assert faults(folder) == [], "the run reads a list that an editor has marked, too"

    (folder / KNOWN_FAILURES).write_text("# API-001 | once\nAPI-002 | we know\n", encoding="utf-8")

    (fault,) = faults(folder)
    assert "API-001" in fault


@pytest.mark.parametrize("text", ["RUN/tmp/x", "~/app/x", "https://host/data/x", "/usr/lib/python3/x.py", "and/or"])
def test_a_path_that_says_nothing_of_the_machine_is_left_alone(handed_in: Path, text: str) -> None:
    folder = of_today(handed_in)

    assert changed(folder, lambda report: first_must(report).update(evidence=[text])) == []


def test_each_report_is_of_the_run_that_its_name_says(handed_in: Path) -> None:
    shutil.copyfile(handed_in / SERVERS_REPORT, handed_in / REPORT)

    found = faults(handed_in)

    assert any("report.json is the report of the ordinary run alone" in fault for fault in found), found


@pytest.mark.parametrize(
    ("version", "name", "words"),
    [
        pytest.param("7.3", "cosmos-venv", "put its folder into one that is named", id="version"),
        pytest.param(None, "Cosmos Venv", "small letters, digits, dots and hyphens", id="letters"),
        pytest.param(None, "cosmos-venv-99.9", "name the folder after what was judged", id="other-version"),
    ],
)
def test_a_folder_of_another_name_is_refused(handed_in: Path, version: str | None, name: str, words: str) -> None:
    folder = handed_in.parent.parent / (version or handed_in.parent.name) / name
    folder.parent.mkdir(exist_ok=True)
    handed_in.rename(folder)

    assert any(words in fault for fault in faults(folder))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("--cosmos-implementation=", "--cosmos-implementation=other_", "lacks the command", id="other"),
        pytest.param("--cosmos-servers ", "", "lacks the command", id="no-servers"),
        pytest.param(JUDGED, "0.0.9", f"does not name the versions {JUDGED}", id="versions"),
        pytest.param("## Machine", "## Thanks", "has no section '## Machine'", id="machine"),
        pytest.param("## Machine\n\n", "## Machine\n\n/Users/kim, ", "a home directory (/Users/kim,)", id="home"),
    ],
)
def test_a_readme_that_nobody_could_follow_is_refused(handed_in: Path, old: str, new: str, words: str) -> None:
    file = handed_in / README
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    found = faults(handed_in)

    assert any(words in fault and str(file) in fault for fault in found), found


def test_a_readme_names_the_list_of_known_failures_that_the_run_had(handed_in: Path) -> None:
    file = handed_in / README

    (fault,) = changed(handed_in, lambda report: report["options"].update(known_failures=KNOWN_FAILURES))

    assert fault.startswith(f"{file} lacks --cosmos-known-failures=known-failures.txt in its command")
    file.write_text(f"{file.read_text(encoding='utf-8')}\n--cosmos-known-failures=known-failures.txt", encoding="utf-8")
    assert faults(handed_in) == []


def test_what_is_missing_or_too_much_is_told(handed_in: Path) -> None:
    (handed_in / README).unlink()
    (handed_in / "report.html").touch()
    (handed_in / REPORT).unlink()

    told = "\n".join(faults(handed_in))

    assert "README.md cannot be read (FileNotFoundError): say there how to make the report again." in told
    assert "holds report.html, which does not belong there" in told
    assert "report.json cannot be read" in told


def test_the_command_looks_through_folders_and_says_what_is_wrong(
    handed_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 valid\n"

    (handed_in / README).unlink()

    assert main(["validate", str(handed_in)]) == 1
    assert capsys.readouterr().out.startswith(f"{handed_in / README} cannot be read")
    assert main(["validate", str(tmp_path / "nowhere")]) == 2


def test_versions_are_in_the_order_of_numbers_and_other_folders_are_none(tmp_path: Path) -> None:
    for name in ("1.9", "1.10", "drafts"):
        (tmp_path / name).mkdir()

    assert [each.name for each in versions(tmp_path)] == ["1.10", "1.9"]


def test_the_module_is_the_command_too_where_the_script_is_not_on_path(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pytest_cosmos_venv.conformance.command", "validate", str(tmp_path / "nowhere")]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (done.returncode, "nowhere" in done.stdout + done.stderr) == (2, True)
