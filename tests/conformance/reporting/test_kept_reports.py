"""Reports that are kept are valid, and what is wrong with one that is handed in is told in a sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance import SPECIFICATION_VERSION
from conformance.command import main
from conformance.reporting.kept_reports import (
    README,
    REPORT,
    SERVERS_REPORT,
    faults,
    kept_folders,
    versions,
)
from conformance.reporting.report import counts
from conformance.requirements import read_specification
from tools.judge import KEPT

Change = Callable[[dict[str, Any]], object]

ORIGINAL = next(
    each.parent for version in versions(KEPT) if (each := version / "cosmos-venv" / SERVERS_REPORT).exists()
)


@pytest.fixture
def handed_in(tmp_path: Path) -> Path:
    """A copy of the newest folder of cosmos-venv that has both reports, in a folder of its version."""
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda report: report.pop("closing"), "is no report of this suite", id="no-closing"),
        pytest.param(
            lambda report: report.update(specification="7.0"), "folder into one that is named 7.0", id="future"
        ),
        pytest.param(
            lambda report: report["implementation"].update(version="unknown"), "names no version", id="version"
        ),
        pytest.param(lambda report: report["closing"].update(is_complete=False), "without a verdict", id="cut-off"),
        pytest.param(
            lambda report: report["closing"].update(exit_code=11), "a verdict (exit code 11)", id="no-verdict"
        ),
        pytest.param(
            lambda report: report["options"].update(known_failures="list.txt"),
            "hand in the list too, as known-failures.txt",
            id="known-failures",
        ),
        pytest.param(
            lambda report: report["options"].update(profiles="locks"), "with --cosmos-profiles", id="some-profiles"
        ),
        pytest.param(lambda report: report["options"].update(spec="1.0"), "with --cosmos-spec", id="older"),
    ],
)
def test_a_fault_of_a_report_is_one_sentence_that_names_the_file(handed_in: Path, change: Change, words: str) -> None:
    found = changed(handed_in, change)

    assert any(words in fault and str(handed_in / REPORT) in fault for fault in found), found
    assert all("\n" not in fault for fault in found)


def of_today(handed_in: Path, profiles: Sequence[str]) -> Path:
    """The same folder with the report that a run of this suite by some profiles would have left."""
    report = json.loads((handed_in / REPORT).read_text(encoding="utf-8"))
    judged = [one for one in read_specification().values() if one.profile in profiles and not one.has_servers]
    report.update(specification=SPECIFICATION_VERSION, profiles={"judged": profiles, "not_judged": []})
    report["requirements"] = [{**report["requirements"][0], "id": one.id} for one in judged]
    report["closing"]["counts"] = counts(report["requirements"])
    folder = handed_in.parent.parent / SPECIFICATION_VERSION / handed_in.name
    folder.parent.mkdir(exist_ok=True)
    handed_in.rename(folder)
    (folder / SERVERS_REPORT).unlink()
    (folder / REPORT).write_text(json.dumps(report), encoding="utf-8")
    return folder


def test_a_report_has_all_requirements_of_the_profiles_that_were_judged(handed_in: Path) -> None:
    folder = of_today(handed_in, ["core", "locks"])

    assert faults(folder) == []

    (fault,) = changed(folder, lambda report: report["requirements"].pop(0))
    assert "does not have the requirements of a run without --cosmos-servers (CMD-001): hand in a whole run." in fault


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("--cosmos-implementation=", "--cosmos-implementation=other_", "lacks the command", id="other"),
        pytest.param("--cosmos-servers ", "", "lacks the command", id="no-servers"),
    ],
)
def test_a_readme_that_nobody_could_follow_is_refused(handed_in: Path, old: str, new: str, words: str) -> None:
    file = handed_in / README
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    found = faults(handed_in)

    assert any(words in fault and str(file) in fault for fault in found), found


def test_what_is_missing_or_too_much_is_told(handed_in: Path) -> None:
    (handed_in / README).unlink()
    (handed_in / "report.html").touch()
    (handed_in / SERVERS_REPORT).write_text("{", encoding="utf-8")

    told = "\n".join(faults(handed_in))

    assert "README.md lacks the command that makes the report again" in told
    assert "report.html does not belong into the folder of an implementation" in told
    assert "report-servers.json is no JSON" in told


def test_the_command_looks_through_folders_and_says_what_is_wrong(
    handed_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 valid\n"

    (handed_in / README).unlink()

    assert main(["validate", str(handed_in)]) == 1
    assert capsys.readouterr().out.startswith(f"{handed_in / README} lacks the command")
    assert main(["validate", str(tmp_path / "nowhere")]) == 2


def test_the_module_is_the_command_too_where_the_script_is_not_on_path(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pytest_cosmos_venv.conformance.command", "validate", str(tmp_path / "nowhere")]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (done.returncode, "nowhere" in done.stdout + done.stderr) == (2, True)
