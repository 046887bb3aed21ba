"""What the options of the suite do, and what they say to a user who gives them wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.report import read_report

pytest_plugins = ["pytester"]

TINY = Path(__file__).parent
SUITE = ["--cosmos-conformance", "--cosmos-implementation=tiny.adapter:TinyAdapter"]


@pytest.fixture(autouse=True)
def _tiny_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the suite's own process can see: the implementation of another shape."""
    monkeypatch.setenv("PYTHONPATH", str(TINY), prepend=":")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--cosmos-level=most"], "*--cosmos-level=most: give one of must|should|beyond.", id="level"),
        pytest.param(
            ["--cosmos-known-failures=none.txt"], "*none.txt cannot be read: No such file*", id="no-known-failures"
        ),
        pytest.param(
            ["--cosmos-known-failures=wrong.txt"], "*line 1: 'LOCK-999' is no requirement*", id="wrong-known-failure"
        ),
        pytest.param(
            ["--cosmos-update-known-failures"],
            "*--cosmos-update-known-failures needs --cosmos-known-failures=FILE*",
            id="nowhere-to-write",
        ),
        pytest.param(
            ["--cosmos-requirement=LOKC-*"],
            "*--cosmos-requirement=LOKC-[*]: no requirement is called so*",
            id="no-such-id",
        ),
        pytest.param(["--cosmos-deadline=1m"], "*--cosmos-deadline=1m: give seconds, such as 300.", id="deadline"),
        pytest.param(["--cosmos-deadline=nan"], "*--cosmos-deadline=nan: give seconds, such as 300.", id="no-number"),
        pytest.param(["--cosmos-profile=fast"], "*--cosmos-profile=fast: give quick or full.", id="profile"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(
    pytester: pytest.Pytester, options: list[str], message: str
) -> None:
    (pytester.path / "wrong.txt").write_text("LOCK-999 | why\n")

    result = pytester.runpytest_subprocess(*SUITE, *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_options_of_the_suite_may_stand_in_the_ini_file_and_the_command_line_wins(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncosmos_level = most\ncosmos_implementation = tiny.adapter:TinyAdapter\n")

    told = pytester.runpytest_subprocess("--cosmos-conformance")
    overruled = pytester.runpytest_subprocess("--cosmos-conformance", "--cosmos-level=more")

    told.stderr.fnmatch_lines(["*--cosmos-level=most: give one of *"])
    overruled.stderr.fnmatch_lines(["*--cosmos-level=more: give one of *"])


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_implementation_of_another_shape_is_judged_and_what_it_declares_absent_is_counted_apart(
    pytester: pytest.Pytester,
) -> None:
    result = pytester.runpytest_subprocess(*SUITE, "--cosmos-requirement=API-001", "--cosmos-report=out")

    assert result.ret == 11
    written = read_report(pytester.path / "out" / "report.json")
    assert written["closing"]["is_complete"] is False
    verdicts = {each["id"]: each["verdict"] for each in written["requirements"]}
    assert verdicts.pop("API-001") == "not applicable"
    assert set(verdicts.values()) == {"not run"}
