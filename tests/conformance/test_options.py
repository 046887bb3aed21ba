"""Tests of the options of the suite, and of the messages to a user who gives them wrongly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv.conformance.reporting.report import read_report
from pytest_cosmos_venv.suite import SuiteRun
from tests.conformance.prepared_suite import run_pytest, run_suite_itself

pytest_plugins = ["pytester"]

TINY = Path(__file__).parent
SUITE = ["--cosmos-conformance", "--cosmos-implementation=tiny.adapter:TinyAdapter"]


@pytest.fixture(autouse=True)
def _tiny_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own process can import the implementation of another shape."""
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
        pytest.param(
            ["--cosmos-requirement=WATCH-003"],
            "*--cosmos-requirement=WATCH-003: WATCH-003 came with specification 1.*, *profile watcher*",
            id="of-another-run",
        ),
        pytest.param(["--cosmos-servers", "-n", "2"], "*--cosmos-servers starts one Airflow*leave out -n.", id="crowd"),
        pytest.param(["--cosmos-requirement="], "*--cosmos-requirement= names none: give ids*", id="no-id"),
        pytest.param(["--cosmos-strict"], "*--cosmos-strict needs --cosmos-known-failures=FILE*", id="strict-of-what"),
        pytest.param(["--cosmos-timeout=1m"], "*--cosmos-timeout=1m: give seconds, such as 300.", id="deadline"),
        pytest.param(
            ["--cosmos-dbt-kind=rust"], "*--cosmos-dbt-kind=rust: give one of python|native.", id="kind-of-dbt"
        ),
        pytest.param(
            ["--cosmos-servers", "--cosmos-dbt-kind=native"], "*has a Python dbt alone: leave out*", id="native-servers"
        ),
        pytest.param(["--cosmos-rounds=fast"], "*--cosmos-rounds=fast: give one of quick|full.", id="rounds"),
        pytest.param(["--cosmos-rounds=glance"], "*--cosmos-rounds=glance: give one of quick|full.", id="of-mutants"),
        pytest.param(
            ["--cosmos-profiles=core,locks"],
            "*--cosmos-profiles=locks: the implementation is judged by core; an adapter opts into others *profiles.",
            id="profiles",
        ),
        pytest.param(
            ["--cosmos-profiles=seed"], "*--cosmos-profiles=seed: there is no such profile: give core.", id="misspelt"
        ),
        pytest.param(["--cosmos-profiles="], "*--cosmos-profiles= names none: give names of core.", id="no-profile"),
        pytest.param(["--cosmos-spec=2"], "*--cosmos-spec=2: give one of 1.3|1.2|1.1|1.0.", id="specification"),
        pytest.param(
            ["--cosmos-report=wrong.txt"], "*--cosmos-report=wrong.txt: no report can be written there*", id="report"
        ),
        pytest.param(
            ["--cosmos-update-known-failures", "--cosmos-known-failures=none/known.txt"],
            "*--cosmos-known-failures=none/known.txt: it cannot be written there*",
            id="no-folder-of-known-failures",
        ),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(
    pytester: pytest.Pytester, options: list[str], message: str
) -> None:
    (pytester.path / "wrong.txt").write_text("LOCK-999 | why\n")

    done = run_suite_itself(*options, folder=pytester.path)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert_told(message, done)


def test_what_the_suite_refuses_is_told_by_the_run_that_started_it(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(*SUITE, "--cosmos-level=most")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--cosmos-level=most: give one of must|should|beyond."])


@pytest.mark.parametrize(
    "option", ["--cosmos-report=out", "--cosmos-level=should", "--cosmos-strict", "--cosmos-servers"]
)
@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["one-process", "workers"])
def test_an_option_of_the_suite_is_refused_in_a_run_of_something_else(
    pytester: pytest.Pytester, option: str, workers: list[str]
) -> None:
    pytester.makepyfile("def test_mine(): pass")

    done = run_pytest(option, *workers, folder=pytester.path)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert_told(f"*{option.partition('=')[0]}: give --cosmos-conformance too*", done)


@pytest.mark.long
def test_options_of_the_suite_may_stand_in_the_ini_file_and_the_command_line_wins(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncosmos_level = most\ncosmos_implementation = tiny.adapter:TinyAdapter\n")

    told = pytester.runpytest_subprocess("--cosmos-conformance")
    overruled = pytester.runpytest_subprocess("--cosmos-conformance", "--cosmos-level=more")

    told.stderr.fnmatch_lines(["*--cosmos-level=most: give one of *"])
    overruled.stderr.fnmatch_lines(["*--cosmos-level=more: give one of *"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            "(TinyAdapter): has = frozenset({'depths'})", "*Mine.has names depths, which there is not*", id="has"
        ),
        pytest.param("(TinyAdapter): has = 'deps'", "*Mine.has is 'deps': give a set of texts*", id="text"),
        pytest.param("(TinyAdapter): services = ('p*',)", "*Mine.services, or *names 'p[*]', which*", id="services"),
        pytest.param(
            ": import_root = 'tiny'", "*my_adapter:Mine is no adapter: derive the class from Adapter*", id="none"
        ),
    ],
)
def test_an_adapter_that_declares_what_there_is_not_is_refused_before_anything_runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    pytester.makepyfile(my_adapter=f"from tiny.adapter import TinyAdapter\nclass Mine{body}\n")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=":")

    done = run_suite_itself(folder=pytester.path, implementation="my_adapter:Mine")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert_told(message, done)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        pytest.param("no_such_adapter:Mine", "*Install it, or name its folder: PYTHONPATH=/its/folder.*", id="module"),
        pytest.param("tiny.TinyAdapter", "*An adapter is named with a colon, tiny:TinyAdapter.*", id="dot"),
    ],
)
def test_an_adapter_that_is_not_found_is_refused_with_the_way_out(
    pytester: pytest.Pytester, named: str, message: str
) -> None:
    done = run_suite_itself(folder=pytester.path, implementation=named)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert_told(message, done)


def test_where_the_user_has_turned_pytests_cache_off_no_folder_of_it_is_named(tmp_path: Path) -> None:
    def named(*options: str) -> list[str]:
        run = SuiteRun(options=options, implementation=None, set_aside=[], root=tmp_path)
        return [word for word in run.command if "cache_dir" in word]

    assert named("-p", "no:cacheprovider") == [], "pytest refuses a setting that nobody knows"
    assert named() == [f"--override-ini=cache_dir={tmp_path / 'cache'}"]


def test_a_relative_folder_on_the_path_is_the_same_for_each_process_of_the_suite(tmp_path: Path) -> None:
    run = SuiteRun(options=[], implementation=None, set_aside=[], root=tmp_path)

    assert run.environment({"PYTHONPATH": f".{os.pathsep}/there"})["PYTHONPATH"] == f"{Path.cwd()}{os.pathsep}/there"


@pytest.mark.long
def test_what_the_suite_itself_breaks_is_no_known_failure_and_junit_names_the_requirement(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = "class Mine(TinyAdapter):\n    def perform(self, task): return None\n"
    pytester.makepyfile(my_adapter=f"from tiny.adapter import TinyAdapter\n{nonsense}")
    (pytester.path / "known.txt").write_text("CMD-004 | we know\n")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=":")
    options = ["--cosmos-implementation=my_adapter:Mine", "--cosmos-known-failures=known.txt", "-k", "snapshot"]

    result = pytester.runpytest_subprocess(
        "--cosmos-conformance", *options, "--cosmos-report=out", "--junitxml=junit.xml"
    )

    assert result.ret == 11
    verdicts = {each["id"]: each["verdict"] for each in read_report(pytester.path / "out/report.json")["requirements"]}
    assert verdicts["CMD-004"] == "harness error"
    junit = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert '<property name="requirement" value="CMD-004" /><property name="level" value="MUST" />' in junit


def assert_told(pattern: str, done: subprocess.CompletedProcess[str]) -> None:
    """A line of what it says of errors is like this pattern."""
    pytest.LineMatcher(done.stderr.splitlines()).fnmatch_lines([pattern])
