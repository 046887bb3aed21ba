"""Whatever an implementation does, does the suite come to its end, with a verdict on it?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from conformance.report import read_report

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _rude_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


def judged(pytester: pytest.Pytester, name: str, *options: str) -> dict[str, Any]:
    """What the report says of CMD-003, the requirement that meets the misbehaviour."""
    named = f"--cosmos-implementation=rude.adapters:{name}"
    told = ("--cosmos-requirement=CMD-003", "--cosmos-report=out", *options)

    pytester.runpytest_subprocess("--cosmos-conformance", named, *told)

    written = read_report(pytester.path / "out" / "report.json")
    found = {each["id"]: each for each in written["requirements"]}
    assert found["CMD-003"]["level"] == "MUST"
    return dict(found["CMD-003"])


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        pytest.param("Hangs", ["within the deadline", "wait_for_ever"], id="hangs"),
        pytest.param("Talks", ["the tide is too high"], id="prints-megabytes"),
        pytest.param("KillsItsGroup", ["killed by SIGKILL"], id="kills-its-process-group"),
        pytest.param("KillsItsParent", ["CMD-003"], id="kills-its-parent"),
        pytest.param("LeavesWithoutAWord", ["returned None"], id="leaves-without-a-word"),
        pytest.param("ReturnsNonsense", ["function"], id="returns-no-outcome"),
    ],
)
def test_it_fails_with_what_it_did(pytester: pytest.Pytester, name: str, seen: list[str]) -> None:
    found = judged(pytester, name, "--cosmos-deadline=8")

    assert found["verdict"] == "failed"
    for words in seen:
        assert words in found["evidence"][0]
    assert len(found["evidence"][0]) < 20_000


def test_processes_that_it_leaves_are_ended(pytester: pytest.Pytester) -> None:
    found = judged(pytester, "ForksWithoutEnd")

    assert found["verdict"] == "passed"
    assert [each.info["cmdline"] for each in psutil.process_iter(["cmdline"]) if _is_ours(each, pytester.path)] == []


def _is_ours(process: psutil.Process, folder: Path) -> bool:
    try:
        return str(folder) in process.cwd() or str(folder) in process.environ().get("PYTHONPATH", "")
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False
