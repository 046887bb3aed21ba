"""What `benchmarks.conformance` makes of what it has measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.conformance import Row, bare_environments, table
from benchmarks.suite_run import SuiteRun
from pytest_cosmos_venv import Wheelhouse


def suite_run(seconds: float, *, exit_code: int = 0) -> SuiteRun:
    tests = [{"name": "first"}, {"name": "second"}]
    report = {"requirements": [{"tests": tests}, {"tests": tests}, {"tests": []}]}
    return SuiteRun(report=report, exit_code=exit_code, seconds=seconds, processor_seconds=seconds * 1.5)


@pytest.mark.parametrize(
    ("runs", "is_kept"),
    [
        pytest.param([suite_run(5), suite_run(3)], True, id="the least counts"),
        pytest.param([suite_run(5), suite_run(4)], False, id="too slow"),
        pytest.param([suite_run(3), suite_run(1, exit_code=10)], False, id="broken off"),
    ],
)
def test_a_promise_is_kept_by_whole_and_sound_runs(runs: list[SuiteRun], is_kept: bool) -> None:
    assert Row(installer="uv", runs=runs, bare=[0.2]).is_kept is is_kept


def test_a_check_is_told_in_bare_environments_of_the_same_installer() -> None:
    row = Row(installer="pip", runs=[suite_run(2)], bare=[5.0, 4.0])

    assert row.as_dict()["bare_environments_a_check"] == 0.25
    assert "| pip | 2 | 3.0 | 4.0 | 0.25 (of 4 checks) | at most 0.3 of them: kept |" in table([row])


def test_a_bare_environment_is_made_each_time(cosmos_wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    taken = bare_environments("uv", cosmos_wheelhouse, tmp_path)

    assert all(seconds > 0 for seconds in taken)
    assert not (tmp_path / "environment").exists()
